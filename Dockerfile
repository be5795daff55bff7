# The portal's processes; docker-compose.yml says which runs where. Guests run on libvirt, outside.
FROM debian:12-slim AS tiny
RUN apt-get update && apt-get install -y --no-install-recommends \
    cpio dosfstools e2fsprogs fakeroot fdisk kmod mtools qemu-utils syslinux syslinux-common xz-utils zstd ca-certificates
COPY deploy/tiny /build
RUN /build/build /tiny.qcow2 /var/cache/tiny

FROM python:3.11-slim-bookworm AS venv
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev libvirt-dev pkg-config
COPY requirements.txt .
RUN python -m venv /venv && /venv/bin/pip install --no-cache-dir --require-hashes -r requirements.txt

FROM python:3.11-slim-bookworm
# pg_dump has to be of the server's version (docker-compose.yml), which Debian 12 does not have.
RUN apt-get update && apt-get install -y --no-install-recommends libvirt0 openssh-client iproute2 qemu-utils postgresql-common && \
    /usr/share/postgresql-common/pgdg/apt.postgresql.org.sh -y && \
    apt-get install -y --no-install-recommends postgresql-client-17 && rm -rf /var/lib/apt/lists/*
COPY --from=venv /venv /venv
COPY --from=tiny /tiny.qcow2 /usr/share/berth/tiny.qcow2
WORKDIR /berth
COPY manage.py ./
COPY portal portal/
COPY hosts hosts/
COPY vms vms/
COPY templates templates/
COPY static static/
COPY deploy deploy/
ENV PATH=/venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 BERTH_DATA=/data
VOLUME /data
EXPOSE 8000
CMD ["uvicorn", "portal.asgi:application", "--host", "0.0.0.0", "--port", "8000"]
