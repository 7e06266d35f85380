// swift-tools-version:6.0

import PackageDescription

let package = Package(
    name: "predict",
    platforms: [.macOS(.v10_15)],
    dependencies: [
        // The client that `make generate` writes; a package by path goes by its folder's
        // name, which is why this one's folder isn't called `swift` too.
        .package(path: "../../../generated/swift")
    ],
    targets: [
        .executableTarget(
            name: "predict",
            dependencies: [.product(name: "Stepscope", package: "swift")]
        )
    ],
    swiftLanguageModes: [.v6]
)
