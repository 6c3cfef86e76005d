"""The shapes of Dockerfiles that people have: official images, notebook stacks, data science, services, compilers."""

from ..case import Dir, File, Tar, group

case = group("real")

case(
    "compiled_language",
    """
    # syntax is the built-in one
    ARG VERSION=1.2
    FROM busybox AS build
    ARG VERSION
    ARG TARGETOS TARGETARCH
    WORKDIR /src
    COPY go.mod go.sum ./
    RUN --mount=type=cache,id=real-go,target=/go/pkg true > deps
    COPY . .
    RUN --mount=type=cache,id=real-go,target=/go/pkg \\
        echo "main $VERSION $TARGETOS/$TARGETARCH" > /out && chmod 755 /out

    FROM build AS test
    RUN exit 1

    FROM scratch
    LABEL org.opencontainers.image.version=1.2 \\
          org.opencontainers.image.title="a service"
    COPY --from=build /out /bin/service
    COPY --from=busybox /etc/passwd /etc/group /etc/
    USER nobody
    EXPOSE 8080/tcp
    ENTRYPOINT ["/bin/service"]
    CMD ["--listen", ":8080"]
    """,
    {
        "go.mod": "module m\n",
        "go.sum": "",
        "main.go": "package main\n",
        "pkg/x.go": "package x\n",
        ".dockerignore": "*.md\n.git\n",
        "README.md": "no",
        ".git/HEAD": "no",
    },
)
case(
    "official_interpreter",
    """
    FROM debian
    ENV PATH /usr/local/bin:$PATH
    ENV LANG C.UTF-8
    RUN set -eux; \\
    \tmkdir -p /usr/local/bin; \\
    \tfor src in idle3 pip3 pydoc3 python3; do \\
    \t\tdst="$(echo "$src" | tr -d 3)"; \\
    \t\t[ ! -e "/usr/local/bin/$dst" ]; \\
    \t\tln -svT "$src" "/usr/local/bin/$dst"; \\
    \tdone; \\
    \trm -rf /var/lib/apt/lists/*
    ENV PYTHON_VERSION 3.11.2
    RUN python3 -c 'import sys; print(sys.version_info[:2])' > /usr/local/version
    CMD ["python3"]
    """,
)
case(
    "official_database",
    """
    FROM busybox
    RUN echo 'db:x:999:' >> /etc/group && echo 'db:x:999:999:db:/data:/bin/false' >> /etc/passwd
    ENV DATA=/data GOSU_VERSION=1.17
    RUN mkdir /data && chown db:db /data && chmod 1777 /data
    VOLUME /data
    WORKDIR /data
    COPY --chmod=755 docker-entrypoint.sh /usr/local/bin/
    ENTRYPOINT ["docker-entrypoint.sh"]
    STOPSIGNAL SIGINT
    EXPOSE 5432
    HEALTHCHECK --interval=10s --timeout=3s --retries=5 CMD nc -z localhost 5432 || exit 1
    CMD ["db", "--serve"]
    """,
    {"docker-entrypoint.sh": File('#!/bin/sh\nset -e\nexec "$@"\n', mode=0o644)},
)
case(
    "notebook_stack",
    """
    ARG REGISTRY=docker.io/library
    ARG BASE=$REGISTRY/debian:latest
    FROM $BASE
    LABEL maintainer="Project <p@example.org>"
    ARG NB_USER="jovyan"
    ARG NB_UID="1000"
    ARG NB_GID="100"
    SHELL ["/bin/bash", "-o", "pipefail", "-c"]
    USER root
    ENV DEBIAN_FRONTEND=noninteractive
    ENV CONDA_DIR=/opt/conda \\
        SHELL=/bin/bash \\
        NB_USER="${NB_USER}" \\
        NB_UID=${NB_UID} \\
        NB_GID=${NB_GID} \\
        LC_ALL=C.UTF-8
    ENV PATH="${CONDA_DIR}/bin:${PATH}" \\
        HOME="/home/${NB_USER}"
    COPY --chmod=0755 fix-permissions /usr/local/bin/fix-permissions
    RUN echo "auth requisite pam_deny.so" >> /etc/pam.d/su && \\
        useradd --no-log-init --create-home --shell /bin/bash --uid "${NB_UID}" --no-user-group "${NB_USER}" && \\
        mkdir -p "${CONDA_DIR}" && \\
        chown "${NB_USER}:${NB_GID}" "${CONDA_DIR}" && \\
        chmod g+w /etc/passwd && \\
        fix-permissions "${CONDA_DIR}" && rm -f /etc/*- && sed -i 's/^\\([^:]*:[^:]*\\):[0-9]*:/\\1:0:/' /etc/shadow
    USER ${NB_UID}
    RUN mkdir "/home/${NB_USER}/work" && fix-permissions "/home/${NB_USER}"
    WORKDIR /tmp
    USER root
    COPY --chmod=0755 run-hooks.sh start.sh /usr/local/bin/
    RUN mkdir /usr/local/bin/start-notebook.d /usr/local/bin/before-notebook.d
    COPY --chown=${NB_UID}:${NB_GID} initial-condarc "${CONDA_DIR}/.condarc"
    USER ${NB_UID}
    WORKDIR "${HOME}"
    ENTRYPOINT ["tini", "-g", "--", "start.sh"]
    CMD ["jupyter", "lab"]
    """,
    {
        "fix-permissions": '#!/bin/bash\nset -e\nfor d in "$@"; do chmod -R g+rwX "$d"; find "$d" -type d -exec chmod g+s {} +; done\n',
        "run-hooks.sh": "#!/bin/bash\n",
        "start.sh": '#!/bin/bash\nexec "$@"\n',
        "initial-condarc": "channels: [conda-forge]\n",
    },
)
case(
    "notebook_child",
    """
    FROM busybox AS stack
    ENV NB_UID=1000 NB_GID=100 HOME=/home/jovyan
    RUN echo 'jovyan:x:1000:100:::/bin/sh' >> /etc/passwd && mkdir -m 750 /home/jovyan && chown 1000:100 /home/jovyan
    USER 1000
    WORKDIR /home/jovyan
    FROM stack
    COPY --chown=${NB_UID}:${NB_GID} requirements.txt /tmp/
    RUN --mount=type=cache,id=real-pip,target=/home/jovyan/.cache/pip,uid=1000,gid=100 \\
        cp /tmp/requirements.txt installed && \\
        touch .bashrc
    COPY --chown=${NB_UID}:${NB_GID} notebooks work/notebooks
    """,
    {"requirements.txt": "numpy==1.0\n", "notebooks/a.ipynb": "{}", "notebooks/data/x.csv": "1,2\n"},
)
case(
    "python_service",
    """
    FROM debian AS base
    ENV PYTHONUNBUFFERED=1 \\
        PYTHONDONTWRITEBYTECODE=1
    FROM base AS builder
    WORKDIR /build
    COPY pyproject.toml .
    COPY src/ src/
    RUN python3 - <<EOF
    import os
    os.makedirs("/install/app")
    for name in os.listdir("src"):
        os.rename("src/" + name, "/install/app/" + name)
    open("/install/VERSION", "w").write("1.0\\n")
    EOF
    FROM base
    RUN useradd --system --uid 900 --no-create-home app && rm -f /etc/*- && \\
        sed -i 's/^\\([^:]*:[^:]*\\):[0-9]*:/\\1:0:/' /etc/shadow
    COPY --from=builder --chown=app:app /install /opt/app
    USER app
    WORKDIR /opt/app
    CMD ["python3", "-m", "app"]
    """,
    {"pyproject.toml": "[project]\n", "src/__main__.py": "print('hi')\n", "src/util/x.py": ""},
)
case(
    "web_front_end",
    """
    FROM busybox AS deps
    WORKDIR /app
    COPY package.json package-lock.json* ./
    RUN mkdir node_modules && cp package.json node_modules/installed
    FROM busybox AS build
    WORKDIR /app
    COPY --from=deps /app/node_modules ./node_modules
    COPY . .
    RUN mkdir -p dist/assets && cat src/*.js > dist/assets/app.js && cp index.html dist/
    FROM busybox AS serve
    COPY --from=build /app/dist /usr/share/nginx/html
    COPY <<-"EOF" /etc/nginx/conf.d/default.conf
    \tserver {
    \t  listen 80;
    \t  location / { try_files $uri /index.html; }
    \t}
    EOF
    EXPOSE 80
    CMD ["httpd", "-f"]
    """,
    {
        "package.json": "{}",
        "package-lock.json": "{}",
        "src/a.js": "a();\n",
        "src/b.js": "b();\n",
        "index.html": "<html>",
        "node_modules/old": "stale",
        ".dockerignore": "node_modules\ndist\n",
    },
)
case(
    "root_filesystem",
    'FROM scratch\nADD rootfs.tar.gz /\nCMD ["sh"]\n',
    {
        "rootfs.tar.gz": Tar(
            {
                "bin": Dir(),
                "bin/sh": File("#!\n", mode=0o755),
                "etc/passwd": "root:x:0:0::/:\n",
                "tmp": Dir(0o1777),
                "var/empty": Dir(0o555, uid=0, gid=2),
                "root": Dir(0o700),
            },
            "gz",
        )
    },
)
case(
    "checks_and_tests",
    """
    FROM busybox AS src
    WORKDIR /src
    COPY . .
    FROM src AS lint
    RUN grep -rq TODO . && exit 1 || echo ok > /lint.txt
    FROM src AS unit
    RUN sh test.sh > /unit.txt
    FROM scratch AS reports
    COPY --from=lint /lint.txt /
    COPY --from=unit /unit.txt /
    FROM src
    """,
    {"test.sh": "echo passed\n"},
    flags="--target reports",
)
case(
    "entrypoint_in_heredocs",
    """
    FROM busybox
    ARG APP_HOME=/srv/app
    RUN <<EOT
      set -e
      mkdir -p $APP_HOME/bin
      echo 'app:x:101:' >> /etc/group
    EOT
    WORKDIR $APP_HOME
    COPY --chmod=0755 <<'EOT' bin/start
    #!/bin/sh
    exec "$@"
    EOT
    COPY <<config.ini <<keys.env etc/
    [app]
    home=${APP_HOME}
    config.ini
    KEY=${KEY:-none}
    keys.env
    ENTRYPOINT ["/srv/app/bin/start"]
    """,
)
case(
    "monorepo",
    """
    FROM busybox AS base
    WORKDIR /repo
    COPY --exclude=**/node_modules --exclude=**/*.test.js packages packages
    FROM base AS api
    RUN cat packages/api/index.js packages/shared/index.js > /api.js
    FROM base AS web
    RUN cat packages/web/index.js packages/shared/index.js > /web.js
    FROM scratch
    COPY --link --from=api /api.js /app/
    COPY --link --from=web /web.js /app/
    """,
    {
        f"packages/{name}/{file}": f"{name} {file}\n"
        for name in ("api", "web", "shared")
        for file in ("index.js", "a.test.js", "node_modules/m/i.js")
    },
)
case(
    "onbuild_framework",
    """
    FROM busybox AS framework
    WORKDIR /usr/src/app
    ONBUILD ARG ENVIRONMENT=production
    ONBUILD ENV ENVIRONMENT=$ENVIRONMENT
    ONBUILD COPY package.json /usr/src/app/
    ONBUILD RUN echo "install $ENVIRONMENT" > installed
    ONBUILD COPY . /usr/src/app
    CMD ["start"]
    FROM framework
    EXPOSE 3000
    """,
    {"package.json": "{}", "app.js": ""},
    flags="--build-arg ENVIRONMENT=staging",
)
