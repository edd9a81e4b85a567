"""One folder that holds all that embedding needs: opened, checked, verified."""

from itl_infer.bundle.bundle import Bundle, load_bundle
from itl_infer.bundle.verify import VerifyReport, verify_bundle

__all__ = ["Bundle", "VerifyReport", "load_bundle", "verify_bundle"]
