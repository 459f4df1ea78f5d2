"""The project as an ASGI application by a2wsgi as it comes, for any ASGI server."""

from a2wsgi import WSGIMiddleware

from core.wsgi import application as wsgi_application

application = WSGIMiddleware(wsgi_application)
