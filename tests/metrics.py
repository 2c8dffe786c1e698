"""Metrics, as Prometheus reads them."""

from prometheus_client.parser import text_string_to_metric_families


def metrics(text: str) -> dict[str, float]:
    """Return the samples that Prometheus' own parser finds, each in its family, by name and
    labels."""
    values = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation.endswith(".")
        assert family.type in ("gauge", "counter")
        for sample in family.samples:
            assert sample.name.startswith(family.name)
            labels = ",".join(f'{name}="{value}"' for name, value in sample.labels.items())
            values[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return values
