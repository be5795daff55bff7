#!/bin/sh
# Before the other containers: schema, static files, the starter image, the first logins. Harmless to repeat.
set -e
mkdir -p /data/images
if [ ! -s /data/images/tiny.qcow2 ]; then
    cp /usr/share/berth/tiny.qcow2 /data/images/tiny.partial
    mv /data/images/tiny.partial /data/images/tiny.qcow2
fi
python -m portal.backup finish
python manage.py migrate --noinput
python manage.py collectstatic --noinput
python manage.py seed
