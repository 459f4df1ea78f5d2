"""The form with which a visitor signs the book."""

from typing import ClassVar

from django import forms

from .models import Entry


class EntryForm(forms.ModelForm):
    class Meta:
        model = Entry
        # Named one by one: a field added to the model later, or `is_hidden`, is not the visitor's
        # to fill in.
        fields = ("name", "message")
        labels: ClassVar = {"name": "Your name", "message": "Your message"}
        widgets: ClassVar = {
            "name": forms.TextInput(attrs={"autocomplete": "name"}),
            "message": forms.Textarea(attrs={"rows": 6}),
        }
        error_messages: ClassVar = {
            "name": {"required": "Please leave a name. Any name will do."},
            "message": {"required": "Please write something. A line is enough."},
        }
