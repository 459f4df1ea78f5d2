"""Pages below the first one, a picture, a document and a redirect."""

import django

django.setup()

from core.pictures import picture  # noqa: E402
from django.contrib.auth import get_user_model  # noqa: E402
from django.core.files.base import ContentFile  # noqa: E402
from home.models import HomePage  # noqa: E402
from wagtail.contrib.redirects.models import Redirect  # noqa: E402
from wagtail.documents.models import Document  # noqa: E402
from wagtail.images.models import Image  # noqa: E402
from wagtail.models import Page, Site  # noqa: E402

editor = get_user_model().objects.get()
home = HomePage.objects.get()
for title in ("Reisen", "Küche", "日本"):
    page = home.add_child(instance=HomePage(title=title, show_in_menus=True, owner=editor))
    page.save_revision(user=editor).publish()
    Image.objects.create(title=title, file=picture(f"{page.pk}.jpg", "purple"))
Document.objects.create(title="Terms", file=ContentFile(b"none", "terms.txt"))
Redirect.objects.create(
    old_path="/old", site=Site.objects.get(), redirect_page=Page.objects.get(pk=page.pk)
)
