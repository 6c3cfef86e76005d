"""RUN --mount: each type with each option, and what a mount leaves behind."""

from ..case import File, Link, group

TREE = {"f": "f\n", "d/g": File("g\n", mode=0o600), "d/l": Link("g"), "x.sh": File("echo x\n", mode=0o755)}
case = group("mounts", TREE)
SECRETS = {"s1": File("hidden", mode=0o777)}
FLAG = "--secret id=s1,src={beside}/s1"

case(
    "bind_context",
    "FROM busybox\nRUN --mount=type=bind,target=/m "
    "find /m/* -exec stat -c '%n %F %a %u:%g %Y' {} + | sort > /l && cat /m/d/g > /g\n",
)
case("bind_default_type", "FROM busybox\nRUN --mount=target=/m cat /m/f > /g\n")
case("bind_source_file", "FROM busybox\nRUN --mount=source=f,target=/m cat /m > /g\n")
case("bind_source_dir", "FROM busybox\nRUN --mount=src=d,dst=/m cat /m/g > /g\n")
case("bind_source_missing", "FROM busybox\nRUN --mount=source=nope,target=/m true\n")
case("bind_readonly", "FROM busybox\nRUN --mount=target=/m touch /m/x 2>/e; true\n")
case("bind_readwrite", "FROM busybox\nRUN --mount=target=/m,rw touch /m/x && ls /m > /l\n")
case("bind_readwrite_false", "FROM busybox\nRUN --mount=target=/m,rw=false touch /m/x 2>/e; true\n")
case(
    "bind_from_stage",
    "FROM busybox AS t\nRUN mkdir /o && echo t > /o/t\nFROM busybox\nRUN --mount=from=t,source=/o,target=/m cat /m/t > /g\n",
)
case(
    "bind_from_image",
    "FROM busybox\nRUN --mount=from=busybox,source=/etc,target=/m cp /m/passwd /g\n",
    note="BuildKit's source map has an empty place for an image that only a mount names",
)
case(
    "bind_from_missing", "FROM busybox\nRUN --mount=from=nope.invalid/x,target=/m true\n", says="nope.invalid/x:latest"
)
case(
    "bind_from_rw_not_kept",
    "FROM busybox AS t\nRUN mkdir /o\nFROM busybox AS u\nRUN --mount=from=t,source=/o,target=/m,rw touch /m/x\nFROM busybox\nCOPY --from=t /o /o\n",
)
case("bind_over_existing", "FROM busybox\nRUN --mount=target=/etc ls /etc > /l\n")
case("bind_relative_target", "FROM busybox\nWORKDIR /w\nRUN --mount=target=m cat m/f > g\n")
case("bind_leaves_mountpoint", "FROM busybox\nRUN --mount=target=/x/y/z true\n")
case("bind_file_leaves_mountpoint", "FROM busybox\nRUN --mount=source=f,target=/x/y true\n")
case("bind_var", "FROM busybox\nARG S=f\nENV T=/m\nRUN --mount=source=$S,target=$T cat /m > /g\n")
case("bind_workdir", "FROM busybox\nWORKDIR /w\nRUN --mount=target=. cat f > /g\n")
case("bind_link_in_source", "FROM busybox\nRUN --mount=source=d/l,target=/m cat /m > /g\n")
case("bind_no_target", "FROM busybox\nRUN --mount=type=bind true\n")
case("bind_target_root", "FROM busybox\nRUN --mount=target=/ true\n")
case("bind_unknown_key", "FROM busybox\nRUN --mount=target=/m,foo=bar true\n")
case("bind_misspelt_key", "FROM busybox\nRUN --mount=tagret=/m true\n")
case("bind_wrong_option", "FROM busybox\nRUN --mount=target=/m,size=5 true\n")
case("type_unknown", "FROM busybox\nRUN --mount=type=bnid,target=/m true\n")
case("csv_quoted", 'FROM busybox\nRUN --mount="type=bind,target=/m" cat /m/f > /g\n')
case("csv_bad", 'FROM busybox\nRUN --mount=type=bind,"target=/m true\n')
case("key_without_value", "FROM busybox\nRUN --mount=target true\n")
case(
    "cache", "FROM busybox\nRUN --mount=type=cache,id=conf-1,target=/c echo x > /c/x && ls /c > /l\nRUN ls -a / > /l2\n"
)
case(
    "cache_shared_between_runs",
    "FROM busybox\nRUN --mount=type=cache,id=conf-2,target=/c rm -f /c/x; touch /c/x\nRUN --mount=type=cache,id=conf-2,target=/d ls /d > /l\n",
)
case(
    "cache_owner",
    "FROM busybox\nRUN --mount=type=cache,id=conf-3,target=/c,uid=5,gid=6,mode=0701 stat -c '%u %g %a' /c > /s\n",
)
case("cache_default_owner", "FROM busybox\nRUN --mount=type=cache,id=conf-4,target=/c stat -c '%u %g %a' /c > /s\n")
case(
    "cache_from",
    "FROM busybox AS t\nRUN mkdir /o && echo t > /o/t\nFROM busybox\nRUN --mount=type=cache,id=conf-5,from=t,source=/o,target=/c cat /c/t > /g\n",
)
case("cache_readonly", "FROM busybox\nRUN --mount=type=cache,id=conf-6,target=/c,ro touch /c/x 2>/e; true\n")
case(
    "cache_sharing",
    "FROM busybox\nRUN --mount=type=cache,id=conf-7,target=/c,sharing=locked --mount=type=cache,id=conf-8,target=/d,sharing=private true\n",
)
case(
    "cache_twice_in_one_run",
    "FROM busybox\nRUN --mount=type=cache,id=conf-13,target=/c,sharing=locked --mount=type=cache,id=conf-13,target=/d"
    " echo x > /c/x && cat /d/x > /g\n",
)
case(
    "cache_twice_private",
    "FROM busybox\nRUN --mount=type=cache,id=conf-14,target=/c,sharing=private"
    " --mount=type=cache,id=conf-14,target=/d,sharing=private rm -f /c/x /d/x; echo x > /c/x; ls /d > /l\n",
)
case("cache_sharing_bad", "FROM busybox\nRUN --mount=type=cache,target=/c,sharing=foo true\n")
case("cache_mode_bad", "FROM busybox\nRUN --mount=type=cache,target=/c,mode=9 true\n")
case("cache_id_var", "FROM busybox\nARG I=conf-9\nRUN --mount=type=cache,id=$I,target=/c true\n")
case("cache_over_existing", "FROM busybox\nRUN --mount=type=cache,id=conf-10,target=/etc ls /etc > /l\n")
case(
    "tmpfs",
    "FROM busybox\nRUN --mount=type=tmpfs,target=/t touch /t/x && stat -c '%a' /t > /s && grep ' /t ' /proc/mounts | awk '{print $1,$3}' >> /s\n",
)
case("tmpfs_size", "FROM busybox\nRUN --mount=type=tmpfs,target=/t,size=4m df -k /t | awk 'NR>1 {print $2}' > /s\n")
case("tmpfs_size_bad", "FROM busybox\nRUN --mount=type=tmpfs,target=/t,size=x true\n")
case(
    "tmpfs_keeps_a_mode",
    "FROM busybox\nRUN mkdir -m 750 /d\nRUN --mount=type=tmpfs,target=/d stat -c '%a %u' /d > /s\n",
)
case(
    "tmpfs_workdir",
    "FROM busybox\nWORKDIR /t/sub\nRUN --mount=type=tmpfs,target=/t pwd > /s && stat -c '%a %u' . >> /s\n",
)
case("tmpfs_over_existing", "FROM busybox\nRUN --mount=type=tmpfs,target=/etc ls -a /etc > /l\n")
case(
    "secret",
    "FROM busybox\nRUN --mount=type=secret,id=s1 cat /run/secrets/s1 > /g && stat -c '%u %g %a' /run/secrets/s1 >> /g\n",
    beside=SECRETS,
    flags=FLAG,
)
case("secret_leaves_nothing", "FROM busybox\nRUN --mount=type=secret,id=s1 true\n", beside=SECRETS, flags=FLAG)
case(
    "secret_target",
    "FROM busybox\nRUN --mount=type=secret,id=s1,target=/x/s cat /x/s > /g\n",
    beside=SECRETS,
    flags=FLAG,
)
case(
    "secret_target_relative",
    "FROM busybox\nWORKDIR /w\nRUN --mount=type=secret,id=s1,target=s cat s > /g\n",
    beside=SECRETS,
    flags=FLAG,
)
case(
    "secret_owner",
    "FROM busybox\nRUN --mount=type=secret,id=s1,target=/s,uid=5,gid=6,mode=0444 stat -c '%u %g %a' /s > /g\n",
    beside=SECRETS,
    flags=FLAG,
)
case(
    "secret_user",
    "FROM busybox\nUSER daemon\nRUN --mount=type=secret,id=s1,uid=1 cat /run/secrets/s1 > /tmp/g\n",
    beside=SECRETS,
    flags=FLAG,
)
case("secret_env", "FROM busybox\nRUN --mount=type=secret,id=s1,env=S echo $S > /g\n", beside=SECRETS, flags=FLAG)
case(
    "secret_env_and_target",
    "FROM busybox\nRUN --mount=type=secret,id=s1,env=S,target=/s cat /s > /g; echo $S >> /g\n",
    beside=SECRETS,
    flags=FLAG,
)
case("secret_absent", "FROM busybox\nRUN --mount=type=secret,id=nope ls /run > /l 2>&1; true\n")
case("secret_required", "FROM busybox\nRUN --mount=type=secret,id=nope,required true\n")
case("secret_required_env", "FROM busybox\nRUN --mount=type=secret,id=nope,required=true,env=X true\n")
case("secret_no_id", "FROM busybox\nRUN --mount=type=secret true\n")
case(
    "secret_id_from_target",
    "FROM busybox\nRUN --mount=type=secret,target=/y/s1 cat /y/s1 > /g\n",
    beside=SECRETS,
    flags=FLAG,
)
case(
    "ssh_absent",
    "FROM busybox\nRUN --mount=type=ssh echo [$SSH_AUTH_SOCK] > /g\n",
)
case("ssh_required", "FROM busybox\nRUN --mount=type=ssh,required true\n")
case(
    "several",
    "FROM busybox\nRUN --mount=target=/m --mount=type=tmpfs,target=/m2 --mount=type=cache,id=conf-11,target=/c cp /m/f /m2/f && cat /m2/f > /g\n",
)
case("nested", "FROM busybox\nRUN --mount=type=tmpfs,target=/t --mount=source=d,target=/t/d ls /t /t/d > /l\n")
case(
    "mount_into_writable_dir",
    "FROM busybox\nRUN mkdir /w && touch /w/old\nRUN --mount=source=d,target=/w/d ls /w > /w/list\n",
)
case("delete_around_mount", "FROM busybox\nRUN mkdir /w && touch /w/old\nRUN --mount=source=f,target=/w/f rm /w/old\n")
case(
    "heredoc_cache",
    "FROM busybox\nRUN --mount=type=cache,id=conf-12,target=/c <<EOF\necho x > /c/x\ncat /c/x > /g\nEOF\n",
)
