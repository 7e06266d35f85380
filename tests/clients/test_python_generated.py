"""The generated Python client as it is, against the real server."""

import base64

import numpy as np
import pytest
from PIL import Image
from stepscope_generated import ApiClient, Configuration, PredictApi, SystemApi, models
from stepscope_generated.exceptions import NotFoundException


@pytest.fixture
def api(server):
    client = ApiClient(Configuration(host=server, no_proxy="*"))
    yield PredictApi(client)
    client.rest_client.pool_manager.clear()


def test_the_life_cycle(api, samples):
    opened = api.open_predictor(
        models.PredictorOpenRequest(
            model_name="lenet",
            options=models.PredictionOptions(
                batch_size=4,
                execution_options=models.ExecutionOptions(
                    trace_level=models.TraceLevel.STEP_TRACE, timeout_in_ms=models.Milliseconds("60000")
                ),
            ),
        )
    )
    predictor = models.PredictorRef(id=opened.id)
    picture = models.ImageItem(id="seven", data=base64.b64encode(samples[14].read_bytes()).decode())
    answer = api.predict_images(models.ImagesRequest(predictor=predictor, images=[picture]))
    assert answer.responses[0].input_id == "seven"
    assert answer.responses[0].features[0].classification.label == "7"

    numbers = (np.asarray(Image.open(samples[14]), np.float64) / 255).ravel().tolist()
    tensor = models.TensorItem(id="t", shape=[1, 28, 28], data=numbers)
    answer = api.predict_tensors(models.TensorsRequest(predictor=predictor, tensors=[tensor]))
    assert answer.responses[0].features[0].classification.label == "7"

    closed = api.close_predictor(models.PredictorCloseRequest(predictor=predictor))
    assert closed.id == opened.id
    with pytest.raises(NotFoundException) as caught:
        api.close_predictor(models.PredictorCloseRequest(id=opened.id))
    assert caught.value.data is not None
    assert caught.value.data.type == "urn:stepscope:problem:predictor-not-found"


def test_the_server_is_ready(api):
    assert SystemApi(api.api_client).get_readiness().status == "ok"
