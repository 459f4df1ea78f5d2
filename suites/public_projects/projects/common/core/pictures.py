"""Pictures to upload."""

from io import BytesIO

from django.core.files.base import ContentFile
from PIL import Image


def picture(name: str, colour: str) -> ContentFile:
    """A JPEG in one colour, large enough to be scaled down."""
    buffer = BytesIO()
    Image.new("RGB", (900, 600), colour).save(buffer, "JPEG")
    return ContentFile(buffer.getvalue(), name)
