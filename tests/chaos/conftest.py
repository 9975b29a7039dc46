"""Companies to run the chain for, as the end-to-end tests have them."""

from tests.end_to_end.conftest import make_company, tracking_uri

__all__ = ["make_company", "tracking_uri"]
