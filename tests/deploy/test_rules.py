"""Prometheus's own check of its configuration and rules, and its unit tests of the alerts."""

from pathlib import Path

import yaml

from tests.deploy.programs import DEPLOY, program, run
from tests.serving import ROOT

RULES = DEPLOY / "prometheus" / "rules.yml"
TESTS = Path(__file__).with_name("rules_test.yml")
PAGE = ROOT / "docs" / "operations.md"


def alerts() -> set[str]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return {rule["alert"] for group in groups for rule in group["rules"] if "alert" in rule}


def test_the_configuration_is_right_and_so_are_its_rules() -> None:
    printed = run(program("promtool"), "check", "config", DEPLOY / "prometheus" / "prometheus.yml")
    assert "rules found" in printed


def test_each_alert_fires_when_it_should_and_only_then() -> None:
    print(run(program("promtool"), "test", "rules", TESTS))
    cases = [
        case
        for test in yaml.safe_load(TESTS.read_text())["tests"]
        for case in test["alert_rule_test"]
    ]
    assert {case["alertname"] for case in cases if "exp_alerts" in case} == alerts()
    assert {case["alertname"] for case in cases if "exp_alerts" not in case} == alerts()


def test_the_documentation_says_what_each_alert_means() -> None:
    assert all(f"`{alert}`" in PAGE.read_text() for alert in alerts())
