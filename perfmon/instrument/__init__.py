"""For your own service: what only the inside of a process knows, exported to Prometheus.

    from perfmon.instrument import python

    python.register()        # beside the metrics that prometheus_client exports already
    python.serve(9101)       # or on a page of its own, for a service without one
    python.text()            # or as text, for a page that you write yourself

Nothing heavy is imported, nothing of the rest of perfmon, and no thread is started but by `serve`.
"""
