"""Credit of very many contributors: coalitions of groups are trained, and members divide the credit of their group."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from royalty.models.base.arrays import as_vector
from royalty.models.base.errors import InputError
from royalty.models.valuation.shapley import ShapleyEstimate

NORMAL = 1.96
"""Standard errors to the end of a 95% interval, if the groups' credit is exact and says none."""


def grouped_shapley(
    credit: ShapleyEstimate, groups: ArrayLike, parts: ArrayLike, *, parts_stderr: ArrayLike | None = None
) -> ShapleyEstimate:
    """Divide the credit of groups among their members, in proportion to a cheap measure of each member's part.

    With a game of contributors in groups, Owen's value (1977) first divides the total among the groups by the Shapley
    value of the game between groups, and then each group's value among its members. The first step is
    `estimate_shapley` on models trained on coalitions of groups, of which a few dozen need training whatever the number
    of members is. The second step here is in proportion to parts w that are measured without training, such as sums of
    GMValuator's values of a member's images: phi_i = phi_g w_i / W_g, W_g the sum over the group. It is Owen's value if
    w is proportional to the members' own, as it is for works whose worth adds up; otherwise it has a bias that no
    interval shows. `python -m tests.benchmarks.grouped_credit` measures it.

    Variance of a member, to first order, with s = w_i / W_g and independent errors of group and parts:
    s^2 var(phi_g) + (phi_g^2 + var(phi_g)) var(s), var(s) = ((1 - 2 s) var(w_i) + s^2 sum of var(w)) / W_g^2.

    Args:
        credit: of the groups, from `estimate_shapley`, `(groups,)`.
        groups: number of the group of each contributor, `(n,)`, from 0; every group has a member.
        parts: `(n,)`, at least 0, in any unit; higher is more. A group whose parts are all 0 divides equally; with
            `parts_stderr`, the error of each of its parts is then as large as the part.
        parts_stderr: `(n,)`, standard errors of the parts; None: they are exact.

    Returns:
        Credit of each contributor, in the units of the groups' credit; the members of a group sum to its value. The
        ends of intervals are as many standard errors away as those of the groups.

    Raises:
        InputError: shapes that do not fit, groups without members, or parts or errors that are negative or not finite.

    Examples:
        Two groups of two and one contributors; in the first, one of the members has three quarters:

        >>> import royalty
        >>> groups = royalty.estimate_shapley([[1, 0], [0, 1]], [4, 1], null_utility=0, grand_utility=5)
        >>> credit = royalty.grouped_shapley(groups, [0, 0, 1], [3, 1, 7])
        >>> credit.values.round(6).tolist()
        [3.0, 1.0, 1.0]
    """
    worth = as_vector(parts, "parts")
    error = np.zeros(len(worth)) if parts_stderr is None else as_vector(parts_stderr, "parts_stderr")
    owner, n_groups = np.asarray(groups), len(credit.values)
    if owner.shape != worth.shape or error.shape != worth.shape:
        raise InputError(
            f"each contributor has a group, a part and an error, got {owner.shape}, {worth.shape} and {error.shape}; "
            "give arrays of one length"
        )
    if not np.issubdtype(owner.dtype, np.integer) or set(np.unique(owner).tolist()) != set(range(n_groups)):
        raise InputError(
            f"groups are numbered 0 to {n_groups - 1}, as their credit is, and each has a member; got "
            f"{len(np.unique(owner))} different numbers. Number the groups in the order of the credit"
        )
    for name, values in (("parts", worth), ("parts_stderr", error)):
        if not (np.isfinite(values).all() and (values >= 0).all()):
            raise InputError(f"`{name}` are finite numbers of at least 0, got {values.min()} to {values.max()}")
    sums = np.bincount(owner, worth, n_groups)
    known = sums[owner] > 0
    worth = np.where(known, worth, 1.0)
    error = error if parts_stderr is None else np.where(known, error, 1.0)
    sums = np.bincount(owner, worth, n_groups)[owner]
    share = worth / sums  # (n,)
    spread = np.bincount(owner, error**2, n_groups)[owner]
    of_share = np.maximum((1 - 2 * share) * error**2 + share**2 * spread, 0) / sums**2
    group, noise = credit.values[owner], credit.stderr[owner]
    values, stderr = group * share, np.sqrt((share * noise) ** 2 + (group**2 + noise**2) * of_share)
    noisy = credit.stderr > 0
    reach = float(((credit.ci_high - credit.values)[noisy] / credit.stderr[noisy]).max()) if noisy.any() else NORMAL
    diagnostics: dict[str, float | str] = {**credit.diagnostics, "groups": float(n_groups)}
    ends = values - reach * stderr, values + reach * stderr
    return ShapleyEstimate(values, stderr, *ends, credit.n_evaluations, diagnostics)
