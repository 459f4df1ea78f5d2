"""What a visitor of the guestbook sees and does."""

from datetime import timedelta

from django.contrib.sessions.models import Session
from django.test import Client, TestCase
from django.urls import reverse
from django.utils import timezone

from ..models import Entry
from ..views import ENTRIES_ON_A_PAGE

BOOK = "/"
ADA = {"name": "Ada", "message": "What a view."}


class ReadingTests(TestCase):
    def test_a_blank_book_invites_to_write(self):
        self.assertContains(self.client.get(BOOK), "The first page is still blank.")

    def test_the_newest_entry_comes_first(self):
        now = timezone.now()
        for name, days in (("old", 2), ("oldest", 3), ("new", 1)):
            Entry.objects.create(name=name, message="…", written_at=now - timedelta(days=days))
        names = [entry.name for entry in self.client.get(BOOK).context["page"]]
        self.assertEqual(names, ["new", "old", "oldest"])

    def test_hidden_entries_are_neither_shown_nor_counted(self):
        Entry.objects.create(name="Eve", message="Buy now!", is_hidden=True)
        Entry.objects.create(**ADA)
        response = self.client.get(BOOK)
        self.assertNotContains(response, "Buy now!")
        self.assertContains(response, "1 entry")

    def test_markup_in_an_entry_stays_text(self):
        Entry.objects.create(name="<b>Bob</b>", message="<script>alert(1)</script>")
        response = self.client.get(BOOK)
        self.assertContains(response, "&lt;script&gt;")
        self.assertNotContains(response, "<script>")
        self.assertNotContains(response, "<b>Bob")

    def test_entries_of_the_same_moment_are_each_on_one_page(self):
        now = timezone.now()
        Entry.objects.bulk_create(
            Entry(name=f"guest {number}", message="…", written_at=now)
            for number in range(ENTRIES_ON_A_PAGE + 2)
        )
        pages = [self.client.get(BOOK, {"page": number}).context["page"] for number in (1, 2)]
        self.assertEqual([len(page) for page in pages], [ENTRIES_ON_A_PAGE, 2])
        self.assertEqual(len({entry.pk for page in pages for entry in page}), ENTRIES_ON_A_PAGE + 2)

    def test_a_page_that_does_not_exist_is_the_nearest_one(self):
        Entry.objects.create(**ADA)
        for page in ("0", "99", "x", ""):
            self.assertContains(self.client.get(BOOK, {"page": page}), "What a view.")

    def test_the_footer_says_who_answered(self):
        self.assertContains(self.client.get(BOOK), "guestbook · Django ")


class SigningTests(TestCase):
    def test_an_entry_is_kept_and_thanked_for(self):
        response = self.client.post(BOOK, ADA, follow=True)
        self.assertRedirects(response, BOOK)
        self.assertContains(response, "Thank you, Ada.")
        entry = Entry.objects.get()
        self.assertEqual((entry.name, entry.message), ("Ada", "What a view."))
        self.assertFalse(entry.is_hidden)

    def test_a_faulty_entry_is_not_kept_and_says_why(self):
        for change, complaint in (
            ({"name": ""}, "Please leave a name."),
            ({"message": " \n "}, "Please write something."),
            ({"message": "x" * 1001}, "at most 1000 characters"),
        ):
            with self.subTest(change):
                response = self.client.post(BOOK, ADA | change)
                self.assertContains(response, complaint)
        self.assertFalse(Entry.objects.exists())

    def test_a_visitor_cannot_set_what_the_form_does_not_ask_for(self):
        self.client.post(BOOK, ADA | {"is_hidden": "on"})
        self.assertFalse(Entry.objects.get().is_hidden)

    def test_a_post_without_the_forms_token_is_refused(self):
        client = Client(enforce_csrf_checks=True)
        self.assertEqual(client.post(BOOK, ADA).status_code, 403)
        client.get(BOOK)
        token = client.cookies["csrftoken"].value
        self.assertRedirects(client.post(BOOK, ADA | {"csrfmiddlewaretoken": token}), BOOK)


class RememberingTests(TestCase):
    def test_a_mere_reader_gets_no_session(self):
        self.client.get(BOOK)
        self.assertNotIn("sessionid", self.client.cookies)
        self.assertFalse(Session.objects.exists())

    def test_the_name_is_filled_in_and_the_visits_are_counted(self):
        self.client.post(BOOK, ADA, follow=True)
        response = self.client.get(BOOK)
        self.assertContains(response, 'value="Ada"')
        self.assertContains(response, "This is your 2nd visit.")

    def test_turning_a_page_is_not_a_visit(self):
        self.client.post(BOOK, ADA, follow=True)
        self.client.get(BOOK, {"page": 2})
        self.assertContains(self.client.get(BOOK), "2nd visit")

    def test_a_visitor_can_be_forgotten(self):
        self.client.post(BOOK, ADA)
        response = self.client.post(reverse("forget"), follow=True)
        self.assertContains(response, "Forgotten.")
        self.assertNotContains(response, 'value="Ada"')
        self.assertTrue(Entry.objects.filter(name="Ada").exists())

    def test_a_link_cannot_make_the_book_forget(self):
        self.assertEqual(self.client.get(reverse("forget")).status_code, 405)
