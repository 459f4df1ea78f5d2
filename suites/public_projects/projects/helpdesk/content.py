"""A queue with tickets and follow-ups, and a knowledge base."""

import django

django.setup()

from django.contrib.auth import get_user_model  # noqa: E402
from django.core.management import call_command  # noqa: E402
from helpdesk.models import FollowUp, KBCategory, KBItem, Queue, Ticket  # noqa: E402

call_command("loaddata", "emailtemplate.json", verbosity=0)
editor = get_user_model().objects.get()
queue = Queue.objects.create(title="Printers", slug="printers", allow_public_submission=True)
for number in range(1, 5):
    ticket = Ticket.objects.create(
        title=f"Printer {number} is on fire",
        queue=queue,
        submitter_email="visitor@example.com",
        description="*Smoke*, see <https://example.com/?q=1&r=2>.\n\n1. one\n2. two",
        priority=number,
        assigned_to=editor if number % 2 else None,
    )
    FollowUp.objects.create(ticket=ticket, title="Looked", comment="`lp0`", user=editor)
category = KBCategory.objects.create(
    name="fires", title="Fires", slug="fires", description="**Hot** ones", public=True, queue=queue
)
KBItem.objects.create(
    category=category, title="Fire?", question="What now?", answer="Water, _much_ of it."
)
