"""What the Complete Journey data does not say and the source contract asks for: assumed here, and nowhere else.

docs/complete_journey.md explains each value. None of them is observed; change one and the sample is
written anew at the next run (the values are part of the sample's version).
"""

from datetime import date
from decimal import Decimal

#: The wheel's time stamps carry no time zone. Purchases peak at 17 to 18 o'clock and rest at 4 when they are read as
#: UTC and shown in Eastern time, and redemption dates match baskets by Eastern date without exception.
TIMEZONE = "America/New_York"
COUNTRY = "US"
LANGUAGE = "en-US"
CURRENCY = "USD"

#: Households of a loyalty panel agreed to mail from the grocer when they joined, which was before the data begins.
CONSENT_CHANNEL = "mail"
CONSENT_DECIDED_ON = date(2016, 11, 1)

#: Print and postage of one mailing, in USD: about what bulk mail cost in the United States in 2017.
CONTACT_COST = Decimal("0.50")

#: Households a campaign can take in all: what was mailed by the end of the data, and a quarter more, but at
#: least this many more.
CAPACITY_GROWTH = Decimal("0.25")
CAPACITY_GROWTH_AT_LEAST = 25

#: The data knows the moment of the till, not the length of the visit.
SESSION_DURATION_SECONDS = 0
