"""Who the users are: segments with names, rules in words, and assignment of anybody without fitting again."""

from ml.segmentation.errors import SegmentationError
from ml.segmentation.matching import RefitReport
from ml.segmentation.profiles import SegmentProfile
from ml.segmentation.rfm import RFM_SEGMENTS, RfmSegmenter
from ml.segmentation.segmenter import UserSegmenter

__all__ = ["RFM_SEGMENTS", "RefitReport", "RfmSegmenter", "SegmentProfile", "SegmentationError", "UserSegmenter"]
