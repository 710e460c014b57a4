"""What a sample of passages promises, in words and as JSON."""

from lockstep.index.samples import SampleReport


def test_a_cosine_is_rounded_down() -> None:
    report = SampleReport(10, 0.9999769, 0, {}, ())
    assert report.told_cosine == "0.9999"
    assert report.to_json()["min_cosine"] == 0.999976
