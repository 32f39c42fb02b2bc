"""render.py CHART [VALUES.yaml] [OVERRIDES.json]

Renders the chart without a cluster, holds every manifest against the strict schemas of Kubernetes, oldest supported
version and newest known, and prints them as one JSON list, with the TOML of configuration read. Errors go to standard
error: values that the schema refuses (exit 2), a template that fails (3), a manifest that Kubernetes would refuse (4).
"""

import json
import sys
import tomllib

import helm_python
import kubernetes_validate
import yaml

KUBERNETES_VERSIONS = ["1.30", kubernetes_validate.latest_version()]


def main(chart_path, values_path=None, overrides="{}"):
    values = {}
    if values_path:
        with open(values_path, encoding="utf-8") as file:
            values = yaml.safe_load(file) or {}
    values = merged(values, json.loads(overrides))
    with helm_python.Chart.load(chart_path) as chart:
        try:
            chart.validate_schema(values)
        except helm_python.HelmError as error:
            return fail(2, error)
        try:
            rendered = chart.render(values, name="farewell", namespace="accounts-gone")
        except helm_python.HelmError as error:
            return fail(3, error)
    report = helm_python.lint(chart_path, values, strict=True)
    if report["errors"]:
        return fail(3, report["errors"])

    manifests = []
    for template, text in sorted(rendered.items()):
        if template.endswith(".txt"):
            continue
        for manifest in filter(None, yaml.safe_load_all(text)):
            for version in KUBERNETES_VERSIONS:
                try:
                    kubernetes_validate.validate(manifest, version, strict=True)
                except kubernetes_validate.ValidationError as error:
                    name = manifest["metadata"]["name"]
                    return fail(4, f"{template}: {manifest['kind']} {name}: Kubernetes {version}: {error}")
            if manifest["kind"] == "ConfigMap":
                manifest["toml"] = {file: tomllib.loads(text) for file, text in manifest["data"].items()}
            manifests.append(manifest)
    json.dump(manifests, sys.stdout)
    return 0


def merged(under, over):
    """Helm's rule: maps are merged, everything else is replaced."""
    if isinstance(under, dict) and isinstance(over, dict):
        return under | {key: merged(under.get(key), value) for key, value in over.items()}
    return over


def fail(status, error):
    print(error, file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
