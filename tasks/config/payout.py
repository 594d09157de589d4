"""The configuration of a payout: the pool, the terms of its division, and the debtor."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import date
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Annotated

from babel.numbers import is_currency
from pydantic import (
    Field,
    PositiveInt,
    ValidationInfo,
    field_validator,
    model_validator,
)

from royalty.infra.ledger.change import Corrections
from royalty.infra.ledger.money import decimals_of, formatted, major_units
from royalty.models.data.names import person_name
from royalty.models.payout.approval import ApprovalRules
from royalty.models.payout.countries import is_country
from royalty.models.payout.division import Negative, Personal, Terms
from royalty.models.payout.equal import EqualBy
from royalty.models.payout.iban import is_iban
from royalty.models.payout.periods import PeriodRule
from royalty.models.payout.policies import PolicyName
from royalty.models.payout.standing import Checks
from royalty.models.payout.usage import Unattributable
from royalty.tasks.config.base import Limit, StageConfig

MOST = 2**53
"""The largest pool in minor units: above it, programs that read JSON as floating-point numbers round."""


class LimitsConfig(StageConfig):
    """Limits that credit must meet before it is paid; see `royalty.models.payout.gates.measure_gates`.

    None: no limit.
    """

    efficiency_gap: Limit | None = None
    marginal_error: Limit | None = None
    interval_width: Limit | None = None
    failed_share: Limit | None = None
    stderr: Limit | None = 0.5


class DebtorConfig(StageConfig):
    """The account that pays, for payment files.

    Attributes:
        name: name of the account holder.
        iban: IBAN of the account.
        bic: BIC of the bank; None if the IBAN suffices.
        country, town: address of the account holder, which transfers to accounts outside the European Economic Area
            need; the country as two letters.
    """

    name: Annotated[str, Field(min_length=1, max_length=140)]
    iban: str
    bic: Annotated[str, Field(pattern=r"^[A-Z0-9]{4}[A-Z]{2}[A-Z0-9]{2}([A-Z0-9]{3})?$")] | None = None
    country: Annotated[str, Field(pattern=r"^[A-Z]{2}$")] | None = None
    town: Annotated[str, Field(min_length=1, max_length=140)] | None = None

    @field_validator("iban")
    @classmethod
    def _is_iban(cls, iban: str) -> str:
        account = "".join(iban.split()).upper()
        if not is_iban(account):
            raise ValueError(
                "an IBAN is a country code, two check digits that fit, and an account number of the country's length"
            )
        return account


class UseConfig(StageConfig):
    """How a pool is divided by use; see `royalty.models.payout.usage`.

    Attributes:
        training: fraction of the pool that is divided by credit; the rest is divided by what was generated.
        unattributable: where the worth of generations goes that no training image is near enough to.
        policy: how credit becomes weights of the training part; None: `policy` of the payout.
    """

    training: Annotated[Decimal, Field(ge=0, le=1)] = Decimal("0.5")
    unattributable: Unattributable = "training"
    policy: PolicyName | None = None

    @property
    def description(self) -> str:
        """The terms in a sentence."""
        goes_to = {
            "training": "the training part",
            "reserve": "the reserve",
            "use": "those who share the attributable use",
        }[self.unattributable]
        weighed = f" ({self.policy})" if self.policy else ""
        return (
            f"{self.training:.4%} of the pool is divided by credit{weighed}, and the rest by what was generated; what "
            f"is not attributable goes to {goes_to}."
        )


class ApprovalConfig(StageConfig):
    """Which payouts wait for a second person; see `royalty.models.payout.approval.ApprovalRules`.

    Attributes:
        above: in units of the currency of the pool.
    """

    above: Annotated[Decimal, Field(ge=0, max_digits=18)] | None = None
    first_payee: bool = False
    changed_account: bool = False

    @property
    def applies(self) -> bool:
        """Whether any payout waits."""
        return self.above is not None or self.first_payee or self.changed_account


class ChecksConfig(StageConfig):
    """What is required of payees before they are paid; see `royalty.models.payout.standing.Checks`."""

    identity: bool = False
    sanctions: bool = False
    max_age_days: PositiveInt | None = None


class CountryConfig(StageConfig):
    """Terms for payees who live in a country.

    Attributes:
        minimum: smallest payment, in units of the currency of the pool; by default that of all.
        reserve: share of each payment that stays on the account until the next pool.
    """

    minimum: Annotated[Decimal, Field(ge=0, max_digits=18)] | None = None
    reserve: Annotated[Decimal, Field(ge=0, lt=1)] = Decimal(0)


class WithholdingConfig(StageConfig):
    """Percent of payments that is withheld as tax, for payees whose row in `contributors.csv` says nothing else.

    Attributes:
        rate: for payees who gave a tax form.
        without_form: for those who gave none.
    """

    rate: Annotated[Decimal, Field(ge=0, le=100)] = Decimal(0)
    without_form: Annotated[Decimal, Field(ge=0, le=100)] = Decimal(0)


class ConversionConfig(StageConfig):
    """Exchange rates, for payees whose account is in another currency than the pool.

    Attributes:
        date: day of the rates.
        source: who states them, such as `ECB`.
        rates: units of a currency for one unit of the currency of the pool.
    """

    date: date
    source: Annotated[str, Field(min_length=1, max_length=64)]
    rates: dict[str, Annotated[Decimal, Field(gt=0)]]

    @field_validator("rates")
    @classmethod
    def _known_currencies(cls, rates: dict[str, Decimal]) -> dict[str, Decimal]:
        if unknown := [currency for currency in rates if not is_currency(currency)]:
            raise ValueError(f"a currency is an ISO 4217 code such as USD; got {', '.join(unknown)}")
        return rates


class PayoutConfig(StageConfig):
    """The pool of money and the terms of its division; see `royalty.models.payout.division.Terms`.

    Attributes:
        pool: money to divide, in units of `currency`.
        currency: ISO 4217 code.
        name: name of the pool; by default the name of the run.
        period: period that the pool is for, such as `2026-05`. A pool is divided once in each period.
        period_from: how the period follows from the date of a scheduled run, or else from today (UTC), where `period`
            is not set: the `month` or `quarter` that the date lies in, or the one before, such as `previous-month`.
            Such a payout pays each period once, whatever becomes of the credit.
        policy: how credit becomes weights.
        negative: what negative credit does.
        equal_share: fraction of the pool that is divided equally, whatever the credit; the policy divides the rest.
        equal_by: whether that fraction is equal for each contributor, or for each image trained on.
        floor, cap: smallest and largest share of the pool for anyone who is paid, as fractions.
        minimum: smallest payment, in units of `currency`.
        disputed: contributors whose money is held.
        payees: file with payees; by default `contributors.csv` in the image folder. See
            `royalty.models.payout.payees`.
        debtor: who pays, for payment files; see `royalty.infra.ledger.pain001`.
        execution_date: date on which the bank executes a payment file, a business day of TARGET; by default the next
            one after the file is written.
        limits: limits that credit must meet before it is paid.
        hysteresis: keep the credit by which the pool was last divided wherever it is not certain to have moved.
        post: post the division at the end of a run or revaluation; otherwise it is proposed, and `royalty payout` posts
            it.
        take_back: agree that such a posting takes money back from contributors, as `royalty payout --replace` does.
        use: how a pool is divided by use, if it is (`royalty payout --usage`).
        corrections: what happens when a pool and period that was paid is divided by other credit. `carry`: what was
            paid stays, and the next payouts pay or withhold the differences. `reverse`: it is taken back, and paid
            anew.
        approval: which postings wait for a second person.
        checks: what is required of payees; the money of others is held.
        countries: terms for payees by the country that they live in, as two letters.
        withholding: tax that is withheld from payments.
        conversion: exchange rates; without them, money is held for payees whose account is in another currency.
    """

    pool: Annotated[Decimal, Field(ge=0, max_digits=18)] = Decimal("1000.00")
    currency: str = "EUR"
    name: str | None = None
    period: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    period_from: PeriodRule | None = None
    policy: PolicyName = "equal-tiers"
    negative: Negative = "zero"
    equal_share: Annotated[Decimal, Field(ge=0, le=1)] = Decimal(0)
    equal_by: EqualBy = "contributor"
    floor: Annotated[Decimal, Field(ge=0, lt=1)] = Decimal(0)
    cap: Annotated[Decimal, Field(gt=0, le=1)] = Decimal(1)
    minimum: Annotated[Decimal, Field(ge=0, max_digits=18)] = Decimal(0)
    disputed: tuple[str, ...] = ()
    payees: Path | None = None
    debtor: DebtorConfig | None = None
    execution_date: date | None = None
    limits: LimitsConfig = LimitsConfig()
    hysteresis: bool = False
    post: bool = False
    take_back: bool = False
    corrections: Corrections = "carry"
    use: UseConfig | None = None

    approval: ApprovalConfig = ApprovalConfig()
    checks: ChecksConfig = ChecksConfig()
    countries: dict[str, CountryConfig] = Field(default_factory=dict)
    withholding: WithholdingConfig = WithholdingConfig()
    conversion: ConversionConfig | None = None

    @field_validator("payees")
    @classmethod
    def _from_here(cls, payees: Path | None) -> Path | None:
        return payees and payees.absolute()

    @field_validator("currency")
    @classmethod
    def _known_currency(cls, currency: str) -> str:
        if not is_currency(currency):
            raise ValueError("a currency is an ISO 4217 code such as EUR")
        return currency

    @field_validator("name", "period")
    @classmethod
    def _readable(cls, name: str | None, info: ValidationInfo) -> str | None:
        readable = None if name is None else person_name(f"`{info.field_name}`", name)
        if name and not readable:
            raise ValueError(f"a pool and a period have a name that is seen, got {name!r}")
        return readable

    @field_validator("countries")
    @classmethod
    def _known_countries(cls, countries: dict[str, CountryConfig]) -> dict[str, CountryConfig]:
        if unknown := [code for code in countries if not is_country(code)]:
            raise ValueError(f"a country has two letters of ISO 3166-1, such as CH; got {', '.join(unknown)}")
        return countries

    @model_validator(mode="after")
    def _whole_minor_units(self) -> PayoutConfig:
        for title, amount in (
            ("pool", self.pool),
            *(("minimum payment", least) for least in (self.minimum, *self._minimums)),
        ):
            if amount != amount.quantize(Decimal(1).scaleb(-self.digits)):
                raise ValueError(
                    f"a {title} is a whole number of the smallest units of {self.currency}, which has {self.digits} "
                    f"decimals; got {amount}"
                )
            if amount.scaleb(self.digits) > MOST:
                raise ValueError(
                    f"a {title} is at most {major_units(MOST, self.currency)} {self.currency}, which every reader of "
                    f"numbers keeps to the last unit; got {amount}"
                )
        return self

    @model_validator(mode="after")
    def _floor_below_cap(self) -> PayoutConfig:
        if self.floor > self.cap:
            raise ValueError(f"`floor` is at most `cap`, which is {self.cap}; got {self.floor}")
        return self

    @model_validator(mode="after")
    def _nothing_ignored(self) -> PayoutConfig:
        if self.equal_by != "contributor" and not self.equal_share:
            raise ValueError(
                f"`equal_by: {self.equal_by}` does nothing: it is about the part of the pool that `equal_share` "
                "divides equally, which is 0. Leave it out, or set `equal_share`"
            )
        return self

    @property
    def _minimums(self) -> list[Decimal]:
        return [country.minimum for country in self.countries.values() if country.minimum is not None]

    @property
    def digits(self) -> int:
        """Decimals of the currency."""
        return decimals_of(self.currency)

    @property
    def minor_units(self) -> int:
        """The pool in minor units."""
        return int(self.pool.scaleb(self.digits))

    def accepting_uncertainty(self, accepted: bool = True) -> PayoutConfig:
        """These settings without the limit on the standard error, or as they are if it is not accepted."""
        limits = self.limits.model_copy(update={"stderr": None})
        return self.model_copy(update={"limits": limits}) if accepted else self

    def terms(
        self,
        unpayable: Collection[str] = (),
        confusable: Collection[str] = (),
        holds: Mapping[str, Sequence[str]] | None = None,
        personal: Mapping[str, Personal] | None = None,
    ) -> Terms:
        """Terms of the division.

        Args:
            unpayable, confusable: contributors without a payee in the currency of the pool, and those whose name looks
                like that of another payee.
            holds: other reasons for which money is held, by contributor.
            personal: terms of single contributors.
        """
        return Terms(
            policy=self.policy,
            negative=self.negative,
            equal_share=Fraction(self.equal_share),
            equal_by=self.equal_by,
            floor=Fraction(self.floor),
            cap=Fraction(self.cap),
            minimum=int(self.minimum.scaleb(self.digits)),
            disputed=frozenset(self.disputed),
            unpayable=frozenset(unpayable),
            confusable=frozenset(confusable),
            holds=holds or {},
            personal=personal or {},
        )

    def approval_rules(self) -> ApprovalRules:
        """The rules of approval, in minor units."""
        above = self.approval.above
        minor = None if above is None else int(above.scaleb(self.digits))
        return ApprovalRules(minor, self.approval.first_payee, self.approval.changed_account)

    def payee_checks(self) -> Checks:
        """What is required of payees."""
        return Checks(**self.checks.model_dump())

    def major_units(self, minor: int) -> Decimal:
        """Convert minor units to units of the currency."""
        return major_units(minor, self.currency)

    def formatted(self, minor: int) -> str:
        """Format minor units with the symbol of the currency."""
        return formatted(minor, self.currency)
