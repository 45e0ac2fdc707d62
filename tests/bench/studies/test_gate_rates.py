"""The simulation in short; `python -m bench.studies.gate_rates` counts many more checks of each kind."""

from bench.gate.judgement import ALPHA
from bench.studies.gate_rates import POPULATIONS, drop_rates, rates_table, time_rates

CHECKS = 40


def test_the_gate_is_wrong_no_more_often_than_it_says():
    of_each = {name: 4 if name == "BLEU" else CHECKS for name in POPULATIONS}  # BLEU is slow to count
    drops = [rates for name, checks in of_each.items() for rates in drop_rates(name, checks, rows=(30, 300))]
    times = list(time_rates(CHECKS))
    assert len(rates_table([*drops, *times]).rows) == 3 * 3 * 2 + 3
    for rates in drops:
        wrong = ("fail",) if "no loss" in rates.what else ("pass", "fail") if "at its" in rates.what else ("pass",)
        for verdict in wrong:
            assert rates.verdicts.get(verdict, 0) <= (ALPHA + 0.07) * max(rates.checks, 20), rates
    by_what = {(rates.what, rates.rows): rates.verdicts for rates in drops}
    assert by_what["accuracy, no loss", 30].keys() == {"not enough rows"}
    same, at_limit, slower = (rates.verdicts for rates in times)
    assert same.get("pass", 0) >= 0.9 * CHECKS
    assert at_limit.get("pass", 0) + at_limit.get("fail", 0) <= (2 * ALPHA + 0.1) * CHECKS
    assert "pass" not in slower
