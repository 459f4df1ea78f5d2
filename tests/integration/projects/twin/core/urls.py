"""A page for each kind of thing that must not be mixed up."""

from django.urls import path
from shop import data, places, work

urlpatterns = [
    path("settings/", places.show_settings),
    path("environ/", places.show_environ),
    path("process/", places.show_child_process),
    path("folder/", places.show_folder),
    path("moved/", places.move_elsewhere),
    path("exit/", places.exit),
    path("log/<slug:word>/", places.write_log),
    path("late/<int:number>/", work.import_late),
    path("thread/<int:number>/", work.import_in_thread),
    path("pool/", work.unpickle_in_pool),
    path("template/", work.render_template),
    path("hints/", data.show_hints),
    path("cache/<slug:alias>/", data.go_through_cache),
    path("database/", data.store),
    path("pydantic/", data.validate),
]
