"""The same service over HTTP, so that curl, Tcl and web pages plan: the Connect protocol, with JSON or binary messages.

:mod:`.messages` turns JSON into the messages that the service takes, :mod:`.call` carries one call to the handlers of
gRPC, :mod:`.serving` answers at a socket of :mod:`.listening`.

Why: docs/decisions/service.md [0620].
"""

from powerplan_server.http.serving import HttpServer as HttpServer
