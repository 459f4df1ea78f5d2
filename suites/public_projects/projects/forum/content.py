"""Forums that anybody may read, with topics, answers and a poll."""

import django

django.setup()

from core.pictures import picture  # noqa: E402
from django.contrib.auth import get_user_model  # noqa: E402
from django.contrib.auth.models import AnonymousUser  # noqa: E402
from machina.core.db.models import get_model  # noqa: E402
from machina.core.loading import get_class  # noqa: E402

Forum = get_model("forum", "Forum")
Topic = get_model("forum_conversation", "Topic")
Post = get_model("forum_conversation", "Post")
TopicPoll = get_model("forum_polls", "TopicPoll")
assign_perm = get_class("forum_permission.shortcuts", "assign_perm")

editor = get_user_model().objects.get()
category = Forum.objects.create(name="Werkstatt", type=Forum.FORUM_CAT)
assign_perm("can_see_forum", AnonymousUser(), category)
for name in ("Holz", "Metall"):
    forum = Forum.objects.create(
        name=name,
        type=Forum.FORUM_POST,
        parent=category,
        description=f"Alles über **{name}**",
        image=picture(f"{name}.jpg", "olive"),
    )
    for permission in ("can_see_forum", "can_read_forum"):
        assign_perm(permission, AnonymousUser(), forum)
    for number in range(3):
        topic = Topic.objects.create(
            forum=forum,
            subject=f"{name} {number}",
            poster=editor,
            type=Topic.TOPIC_POST,
            status=Topic.TOPIC_UNLOCKED,
        )
        for answer in range(2):
            Post.objects.create(
                topic=topic,
                poster=editor,
                subject=topic.subject,
                content=f"# Antwort {answer}\n\n*Grüße* aus `{name}`\n\n- eins\n- zwei",
            )
    poll = TopicPoll.objects.create(topic=topic, question="Leim?", max_options=1)
    for text in ("ja", "nein"):
        poll.options.create(text=text)
