"""Published pages with text in two languages, and a picture in django-filer."""

import django

django.setup()

from cms.api import add_plugin, create_page, create_page_content  # noqa: E402
from core.pictures import picture  # noqa: E402
from django.contrib.auth import get_user_model  # noqa: E402
from django.db import transaction  # noqa: E402
from djangocms_versioning.models import Version  # noqa: E402
from filer.models import Folder, Image  # noqa: E402

editor = get_user_model().objects.get()
folder = Folder.objects.create(name="Pictures", owner=editor)
image = Image.objects.create(owner=editor, folder=folder, file=picture("sea.jpg", "navy"))

parent = None
for title, german in {"Home": "Start", "News": "Neues", "About": "Über uns"}.items():
    page = create_page(
        title, "page.html", "en", created_by=editor, in_navigation=True, parent=parent
    )
    create_page_content("de", german, page, created_by=editor, in_navigation=True)
    for content in page.pagecontent_set(manager="admin_manager").all():
        placeholder = content.get_placeholders()[0]
        body = f"<p>{content.title}: <em>ä</em> <img src='{image.url}' alt=''></p>"
        add_plugin(placeholder, "TextPlugin", content.language, body=body)
        Version.objects.get_for_content(content).publish(editor)
    if parent is None:
        with transaction.atomic():
            page.set_as_homepage(editor)
    parent = page
