"""Recommendations over HTTP: `create_app` makes the Flask application.

the application
    app             routes and hooks put together; context, what every request has; finish, headers, what every answer has
    access          who may ask for what; limits, how often
    bodies          JSON in; errors, errors out
    spec            routes checked against their schemas; description, the OpenAPI document
    schemas         what requests say and answers look like; batch_schemas, event_schemas, item_schemas, operation_schemas,
                    admin_schemas, those of one resource
routes
    recommendations top-N and ranking; asking, whose history counts; experiments, users split between models
    items           the catalogue and its neighbours; titles, found by words
    events          in and out
    versions        stored models; admin, nightly runs; operations, probes and the description; explorer, the page at `/`
what a process keeps
    serving         models in service; live_items, the catalogue as it is now; item_changes, told to the other processes
    storage         the log and the items; known_histories, read once
    metrics         counts; shared_counts, those of all processes; logs, lines; tracing, spans
gunicorn
    server          its settings; worker, a process; sharing, connections, who takes which connection
    loop            short requests without a thread; at_once, which those are; direct, the two most frequent from bytes to bytes
    safe_body       bodies whose faults an application expects
"""

from recae.api.app import create_app

__all__ = ["create_app"]
