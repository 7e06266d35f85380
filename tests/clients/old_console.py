"""A stand-in for the console client that MLModelScope's users have: the same options, requests and reads.

It must stay as unforgiving as that one: every field by subscript, no redirects, no look at the status.
"""

import uuid

import click
import requests  # noqa: TID251 - the old client's own library; the bytes on the wire are its


@click.command()
@click.option("--MLModelScope_url", "site", default="http://www.mlmodelscope.org")
@click.option("--urls", "file", default="example.txt", type=click.File("rb"))
@click.option("--framework_name", default="MXNet")
@click.option("--framework_version", default="1.3.0")
@click.option("--model_name", default="BVLC-AlexNet")
@click.option("--model_version", default="1.0")
@click.option("--batch_size", default=256)
@click.option("--trace_url", default="trace.mlmodelscope.org")
@click.option("--trace_level", default="STEP_TRACE")
def main(site, file, framework_name, framework_version, model_name, model_version, batch_size, trace_url, trace_level):
    """Open, predict the URLs of a file, close, and print the trace's address."""
    api = with_scheme(site) + "/api/predict"
    opened = requests.post(
        f"{api}/open",
        json={
            "framework_name": framework_name,
            "framework_version": framework_version,
            "model_name": model_name,
            "model_version": model_version,
            "options": {
                "batch_size": int(batch_size),
                "execution_options": {"trace_level": trace_level, "device_count": {"GPU": 0}},
            },
        },
        allow_redirects=False,
        timeout=60,
    ).json()
    click.echo("predictor " + opened["id"])

    # Every line, blank ones too, and the whole answer of open as the predictor.
    inputs = [{"id": str(uuid.uuid4()), "data": line.decode("utf-8").strip()} for line in file.readlines()]
    asked = {"predictor": opened, "urls": inputs, "options": {"feature_limit": 0}}
    answer = requests.post(f"{api}/urls", json=asked, headers={}, allow_redirects=False, timeout=60).json()
    trace_id = answer["trace_id"]["id"]
    for response in answer["responses"]:
        features = response["features"][:5] if "features" in response else []
        click.echo("labels " + " ".join(feature["classification"]["label"] for feature in features))

    requests.post(f"{api}/close", json={"id": opened["id"]}, headers={}, allow_redirects=False, timeout=60)
    click.echo(with_scheme(trace_url) + ":16686/api/traces/" + trace_id)


def with_scheme(address):
    """Clean an address up as the old client did."""
    address = address.strip("/")
    return address if address.startswith("http") else "http://" + address


if __name__ == "__main__":
    main()
