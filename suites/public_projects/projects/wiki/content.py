"""Articles that use what the plugins add to Markdown, with a picture and an attachment."""

import django

django.setup()

from core.pictures import picture  # noqa: E402
from django.contrib.auth import get_user_model  # noqa: E402
from wiki.models import URLPath  # noqa: E402
from wiki.plugins.images.models import Image, ImageRevision  # noqa: E402

editor = get_user_model().objects.get()
root = URLPath.create_root(
    title="Wiki", content="# Welcome\n\n[TOC]\n\n## List\n\n[article_list depth:2]", user=editor
)
for slug in ("alpha", "beta", "gamma"):
    page = URLPath.create_urlpath(
        root,
        slug,
        title=slug.title(),
        content=f"""# {slug.title()}

Käse → [alpha](wiki:/alpha) and [nowhere](wiki:/nowhere), <script>alert(1)</script>.

| a | b |
|---|---|
| 1 | 2 |

```python
def {slug}(): return "{slug}"
```

## Section

- one
- two
""",
        user=editor,
    )
    image = Image(article=page.article)
    image.add_revision(ImageRevision(image=picture(f"{slug}.jpg", "teal"), user=editor))
