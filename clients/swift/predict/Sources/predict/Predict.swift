// Says which digit a picture shows:  swift run predict seven.png [http://127.0.0.1:8080]

import Foundation
import Stepscope

@main
struct Predict {
    static func main() async {
        let arguments = ProcessInfo.processInfo.arguments.dropFirst()
        guard let path = arguments.first else {
            fail("usage: predict IMAGE [SERVER]", code: 2)
        }
        let server = arguments.dropFirst().first ?? "http://127.0.0.1:8080"
        do {
            let image = try Data(contentsOf: URL(fileURLWithPath: path))
            print(try await answer(image, from: server))
        } catch let error as ErrorResponse {
            fail(told(error))
        } catch {
            fail(error.localizedDescription)
        }
    }

    /// Opens a predictor, predicts one image, closes the predictor again, and returns the answer in words.
    static func answer(_ image: Data, from server: String) async throws -> String {
        // Answers come on a queue of their own, so that nothing depends on the main one.
        let configuration = StepscopeAPIConfiguration(basePath: server, apiResponseQueue: .global())
        let predictor = try await PredictAPI.openPredictor(
            predictorOpenRequest: PredictorOpenRequest(modelName: "lenet"),
            apiConfiguration: configuration
        )
        let reference = PredictorRef(id: predictor.id)
        let result: FeaturesResponse
        do {
            result = try await PredictAPI.predictImages(
                imagesRequest: ImagesRequest(
                    predictor: reference,
                    images: [ImageItem(id: "0", data: image.base64EncodedString())],
                    options: PredictionOptions(featureLimit: 1)
                ),
                apiConfiguration: configuration
            )
        } catch {
            // The first error says more than one of the close would.
            try? await close(reference, configuration)
            throw error
        }
        try await close(reference, configuration)
        return words(result.responses[0])
    }

    static func close(_ predictor: PredictorRef, _ configuration: StepscopeAPIConfiguration) async throws {
        _ = try await PredictAPI.closePredictor(
            predictorCloseRequest: PredictorCloseRequest(predictor: predictor),
            apiConfiguration: configuration
        )
    }

    /// Returns the best label with its probability, or the input's error.
    static func words(_ response: FeatureResponse) -> String {
        if let error = response.error {
            return error.message
        }
        guard let best = response.features?.first, let label = best.classification?.label else {
            return "The model found nothing."
        }
        let percent = ((best.probability ?? 0) * 1000).rounded() / 10
        return "\(label) (\(percent) %)"
    }

    /// Returns what the server says of an error, or what the system says when no server answered.
    static func told(_ response: ErrorResponse) -> String {
        switch response {
        case let .error(status, data, _, error):
            if let data, let problem = try? CodableHelper().decode(Problem.self, from: data).get() {
                return problem.detail
            }
            return "\(error.localizedDescription) (\(status))"
        }
    }

    static func fail(_ message: String, code: Int32 = 1) -> Never {
        FileHandle.standardError.write(Data((message + "\n").utf8))
        exit(code)
    }
}
