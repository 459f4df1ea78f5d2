"""What the staff can do in the admin, and who is staff."""

from django.contrib.auth.models import Permission, User
from django.test import TestCase
from django.urls import reverse

from ..models import Entry

ENTRIES = reverse("admin:website_entry_changelist")


class ModerationTests(TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.entry = Entry.objects.create(name="Eve", message="Buy now!")
        Entry.objects.create(name="Ada", message="What a view.")

    def sign_in(self, *permissions: str) -> None:
        user = User.objects.create_user("staff", is_staff=True)
        user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
        self.client.force_login(user)

    def act(self, action: str):
        data = {"action": action, "_selected_action": [self.entry.pk]}
        return self.client.post(ENTRIES, data, follow=True)

    def test_strangers_are_asked_to_sign_in(self):
        response = self.client.get(ENTRIES)
        self.assertRedirects(response, f"{reverse('admin:login')}?next={ENTRIES}")

    def test_an_entry_is_hidden_and_shown_again(self):
        self.sign_in("view_entry", "change_entry")
        self.assertContains(self.act("hide"), "1 entry is hidden now.")
        self.assertNotContains(self.client.get("/"), "Buy now!")
        self.assertContains(self.act("show"), "1 entry is visible now.")
        self.assertContains(self.client.get("/"), "Buy now!")

    def test_who_may_only_look_cannot_hide(self):
        self.sign_in("view_entry")
        self.act("hide")
        self.entry.refresh_from_db()
        self.assertFalse(self.entry.is_hidden)

    def test_entries_are_found_by_what_they_say(self):
        self.sign_in("view_entry")
        response = self.client.get(ENTRIES, {"q": "view"})
        self.assertContains(response, "Ada")
        self.assertNotContains(response, "Eve")
