"""How often ends of intervals are wrong: added up over everything that can be seen, not simulated."""

import numpy as np
import pytest
from scipy.stats import multinomial

from compress.metrics.proportions import fewest_rows, highest_loss, highest_share, lowest_loss, lowest_share


def test_shares_have_clopper_and_pearsons_ends():
    # Of 20 rows none: 1 - 0.05^(1/20); 5 of 20: table values of the exact 95 % interval.
    assert highest_share(0, 20, 0.05) == pytest.approx(1 - 0.05 ** (1 / 20))
    assert lowest_share(0, 20, 0.05) == pytest.approx(0, abs=1e-9)
    assert (lowest_share(5, 20, 0.025), highest_share(5, 20, 0.025)) == pytest.approx((0.0866, 0.4910), abs=1e-4)
    assert highest_share(20, 20, 0.05) == 1


def test_rows_that_do_not_change_are_evidence_of_a_small_loss_only():
    assert highest_loss(0, 0, 30, 0.05) == pytest.approx(0.0950, abs=1e-4)
    assert highest_loss(0, 0, 298, 0.05) > 0.01 > highest_loss(0, 0, 299, 0.05)
    assert fewest_rows(0.01, 0.05) == 299
    assert fewest_rows(0, 0.05) == np.inf
    assert fewest_rows(1, 0.05) == 1
    assert lowest_loss(0, 0, 30, 0.05) == -highest_loss(0, 0, 30, 0.05)


@pytest.mark.parametrize("chance", [0.05, 0.05 / 15, 0.05 / 300])
@pytest.mark.parametrize("rows", [30, 100, 300, 1000])
def test_a_loss_is_beyond_its_end_no_more_often_than_is_stated(rows: int, chance: float):
    """Of all numbers of lost and gained rows (up to 60 each, beyond which almost nothing falls here)."""
    lost, gained = (grid.ravel() for grid in np.meshgrid(np.arange(61), np.arange(61)))
    possible = lost + gained <= rows
    lost, gained = lost[possible], gained[possible]
    seen, ends = np.stack([lost, gained, rows - lost - gained], axis=1), highest_loss(lost, gained, rows, chance)
    for loss in (0.005, 0.01, 0.02, 0.05):
        for share_gained in (0.0, 0.002, 0.01):
            if (loss + share_gained) * rows < 35:
                shares = [loss + share_gained, share_gained, 1 - loss - 2 * share_gained]
                missed = multinomial.pmf(seen[ends < loss], rows, shares).sum()
                assert missed <= chance, (loss, share_gained)
