from django.db import migrations

PLACES = """
    INSERT INTO events_feedentry (event_id, tenant_id, sequence) SELECT id, tenant_id, id FROM events_event
"""
HEAD = "INSERT INTO events_feedhead (id, sequence) SELECT 1, COALESCE(MAX(id), 0) FROM events_event"


class Migration(migrations.Migration):
    """Events of before have the places of their ids. By itself: PostgreSQL alters no table after its rows."""

    dependencies = [("events", "0005_feed")]

    operations = [migrations.RunSQL([PLACES, HEAD], migrations.RunSQL.noop)]
