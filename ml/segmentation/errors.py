"""The one exception of the segmentation room."""


class SegmentationError(ValueError):
    """Users cannot be put into segments as asked; the message says what to do."""
