"""The image config: what each instruction writes into it, what is inherited and what is reset."""

from ..case import Layout, group

case = group("config")

case("env", "FROM busybox\nENV A=1 B=\"two words\" C='single $A' D=esc\\ aped E= F=$A\n")
case("env_old_form", "FROM busybox\nENV A some  value with   spaces \nENV B $A x\n")
case("env_same_line", "FROM busybox\nENV A=1\nENV A=2 B=$A C=${A}3\n")
case("env_override_order", "FROM busybox\nENV A=1 B=2\nENV A=3\nENV PATH=/x:$PATH\n")
case("env_quotes", 'FROM busybox\nENV A="a\\"b" B=\'c"d\' C=a"b c"d E="x\\$y" F=\\$z G="new\\\nline"\n')
case("env_no_value", "FROM busybox\nENV A\n")
case("env_missing_equals", "FROM busybox\nENV A=1 B\n")
case("env_blank_name", "FROM busybox\nENV =x\n")
case("env_unicode", "FROM busybox\nENV Ä=ö€ E='😀 <&>'\n")
case("env_html_chars", 'FROM busybox\nENV A="<a href=\'x\'>&amp;</a>"\nLABEL l="<&>\u2028"\nCMD echo "<>&"\n')
case("label", 'FROM busybox\nLABEL a=b "c d"=e f="g h" i=\'j\'\nLABEL a=c\n')
case("label_old_form", "FROM busybox\nLABEL a some value\n")
case("label_lines", 'FROM busybox\nLABEL one="1" \\\n      two="2" \\\n\n      three=3\n')
case("label_vars", "FROM busybox\nARG V=1\nENV W=2\nLABEL v=$V w=${W} x='$V' y=\"$V\"\n")
case("label_flag", "FROM busybox\nLABEL a=file\n", flags="--label a=flag --label b= --label c")
case("label_flag_on_scratch", "FROM scratch\n", flags="--label z=1 --label a=2")
case("maintainer", "FROM busybox\nMAINTAINER A B <a@b.c>\n")
case("cmd_shell", "FROM busybox\nCMD echo $HOME && true\n")
case("cmd_exec", 'FROM busybox\nCMD ["a", "b c", "d\\"e", "\\u00e9"]\n')
case("cmd_exec_bad_json", "FROM busybox\nCMD ['a', 'b']\n")
case("cmd_empty", "FROM busybox\nCMD []\n")
case("cmd_empty_shell", "FROM busybox\nCMD\n")
case("cmd_twice", "FROM busybox\nCMD a\nCMD b\n")
case("entrypoint", 'FROM busybox\nENTRYPOINT ["sh"]\nCMD ["-c", "echo"]\n')
case("entrypoint_shell", "FROM busybox\nENTRYPOINT exec top -b\n")
case("entrypoint_empty", "FROM busybox\nENTRYPOINT []\n")
case("entrypoint_resets_cmd", "FROM busybox AS a\nCMD echo\nFROM a\nENTRYPOINT top -b\n")
case("entrypoint_keeps_own_cmd", "FROM busybox\nCMD echo\nENTRYPOINT top -b\n")
case("entrypoint_in_child_only_cmd", 'FROM busybox AS a\nENTRYPOINT ["x"]\nFROM a\nCMD ["y"]\n')
case("shell", 'FROM busybox\nSHELL ["/bin/sh", "-ec"]\nRUN echo x > /x\nCMD run\nENTRYPOINT y\nHEALTHCHECK CMD z\n')
case("shell_exec_only", "FROM busybox\nSHELL /bin/sh\n")
case("shell_inherited", 'FROM busybox AS a\nSHELL ["/bin/sh", "-xc"]\nFROM a\nRUN true\nCMD z\n')
case("shell_empty", "FROM busybox\nSHELL []\n")
case("expose", "FROM busybox\nEXPOSE 80 443/tcp 8000-8002/udp 53/sctp\n")
case("expose_vars", "FROM busybox\nARG P=90\nEXPOSE $P ${P}1/udp\n")
case("expose_upper", "FROM busybox\nEXPOSE 80/TCP\nEXPOSE 80/UDP\n")
case("expose_host_part", "FROM busybox\nEXPOSE 8080:80 127.0.0.1:9090:90/udp\n")
case("expose_bad", "FROM busybox\nEXPOSE eighty\n")
case("expose_too_big", "FROM busybox\nEXPOSE 70000\n")
case("expose_bad_proto", "FROM busybox\nEXPOSE 80/foo\n")
case("expose_bad_range", "FROM busybox\nEXPOSE 90-80\n")
case("expose_order", "FROM busybox\nEXPOSE 443 80 8080 22\nEXPOSE 1\n")
case("volume", 'FROM busybox\nVOLUME /a /b\nVOLUME ["/c d"]\n')
case("volume_vars", "FROM busybox\nENV D=/data\nVOLUME $D ${D}/x rel\n")
case("volume_empty", 'FROM busybox\nVOLUME [""]\n')
case("volume_then_run", "FROM busybox\nRUN mkdir /v && touch /v/a\nVOLUME /v\nRUN touch /v/b\nCOPY c /v/\n", {"c": "c"})
case("user", "FROM busybox\nUSER 1000:1000\n")
case("user_vars", "FROM busybox\nARG U=daemon\nUSER ${U}:users\n")
case("user_two_words", "FROM busybox\nUSER a b\n")
case("workdir", "FROM busybox\nWORKDIR /a\nWORKDIR b\nUSER nobody\nWORKDIR c\n")
case("workdir_owner", "FROM busybox\nUSER 1000:100\nWORKDIR /x/y\nUSER daemon\nWORKDIR z\n")
case("workdir_user_only", "FROM busybox\nUSER daemon\nWORKDIR /x\n")
case(
    "workdir_new_user",
    "FROM busybox\nRUN echo me:x:1000:1001::/: >> /etc/passwd && echo g:x:55: >> /etc/group\nUSER me:g\nWORKDIR /x\n",
)
case("workdir_unknown_user", "FROM busybox\nUSER ghost\nWORKDIR /x\n")
case("workdir_exists", "FROM busybox\nWORKDIR /etc\nWORKDIR /tmp\nRUN touch x\n")
case("workdir_root", "FROM busybox\nWORKDIR /\nCOPY f .\n", {"f": "f"})
case("workdir_relative_first", "FROM scratch\nWORKDIR rel/x\nCOPY f .\n", {"f": "f"})
case("workdir_dots", "FROM scratch\nWORKDIR /a/../b/./c//d/\nWORKDIR ..\nCOPY f .\n", {"f": "f"})
case("workdir_vars", 'FROM scratch\nARG A=/x\nENV B=y\nWORKDIR ${A}/$B\nWORKDIR "with space"\nCOPY f .\n', {"f": "f"})
case("workdir_is_file", "FROM busybox\nWORKDIR /etc/passwd\n")
case("workdir_through_link", "FROM busybox\nRUN ln -s /etc /alias\nWORKDIR /alias/new\n")
case("workdir_inherited", "FROM scratch AS a\nWORKDIR /a\nFROM a\nWORKDIR b\n")
case("workdir_only", "FROM scratch\nWORKDIR /only\n")
case("workdir_empty", "FROM busybox\nWORKDIR\n")
case("stopsignal", "FROM busybox\nSTOPSIGNAL SIGKILL\n")
case("stopsignal_number", "FROM busybox\nARG S=9\nSTOPSIGNAL $S\n")
case("stopsignal_short", "FROM busybox\nSTOPSIGNAL INT\n")
case("stopsignal_rt", "FROM busybox\nSTOPSIGNAL SIGRTMIN+3\n")
case("stopsignal_bad", "FROM busybox\nSTOPSIGNAL SIGNOPE\n")
case(
    "healthcheck",
    "FROM busybox\nHEALTHCHECK --interval=5m --timeout=3s --start-period=1h2m --start-interval=1500ms --retries=2 CMD wget localhost\n",
)
case("healthcheck_exec", 'FROM busybox\nHEALTHCHECK CMD ["wget", "localhost"]\n')
case("healthcheck_none", "FROM busybox AS a\nHEALTHCHECK CMD x\nFROM a\nHEALTHCHECK NONE\n")
case("healthcheck_none_args", "FROM busybox\nHEALTHCHECK NONE x\n")
case("healthcheck_zero", "FROM busybox\nHEALTHCHECK --interval=0s --retries=0 CMD x\n")
case("healthcheck_short", "FROM busybox\nHEALTHCHECK --interval=1us CMD x\n")
case("healthcheck_bad_duration", "FROM busybox\nHEALTHCHECK --timeout=3 CMD x\n")
case("healthcheck_negative", "FROM busybox\nHEALTHCHECK --retries=-1 CMD x\n")
case("healthcheck_bad_type", "FROM busybox\nHEALTHCHECK SHELL x\n")
case("healthcheck_no_cmd", "FROM busybox\nHEALTHCHECK CMD\n")
case("healthcheck_inherited", "FROM busybox AS a\nHEALTHCHECK --retries=4 CMD x\nFROM a\nENV B=1\n")
case("onbuild", "FROM busybox\nONBUILD RUN echo later\nONBUILD COPY . .\nONBUILD ENV A=b\n")
case("onbuild_runs", "FROM busybox AS a\nONBUILD RUN echo b > /b\nONBUILD ENV B=1\nFROM a\nENV C=$B\n")
case("onbuild_grandchild", "FROM busybox AS a\nONBUILD ENV B=1\nFROM a AS b\nFROM b\nENV C=1\n")
case("onbuild_copy", "FROM busybox AS a\nONBUILD COPY f /f\nONBUILD WORKDIR /w\nFROM a\nCOPY f .\n", {"f": "f"})
case(
    "onbuild_copy_from",
    "FROM busybox AS src\nRUN echo s > /s\nFROM busybox AS a\nONBUILD COPY --from=src /s /t\nFROM a\n",
)
case(
    "onbuild_arg",
    "FROM busybox AS a\nONBUILD ARG V=1\nONBUILD LABEL v=$V\nFROM a\nLABEL w=$V\n",
    flags="--build-arg V=2",
)
case("onbuild_onbuild", "FROM busybox\nONBUILD ONBUILD RUN x\n")
case("onbuild_from", "FROM busybox\nONBUILD FROM x\n")
case("onbuild_unknown", "FROM busybox\nONBUILD CPY x\n")
case("onbuild_fails", "FROM busybox AS a\nONBUILD RUN exit 4\n\n\nFROM a\n")
case("onbuild_heredoc", "FROM busybox AS a\nONBUILD RUN <<EOF\necho x > /x\nEOF\nFROM a\n")
case("scratch_empty", "FROM scratch\n")
case("scratch_config", 'FROM scratch\nENV A=1\nCMD ["/x"]\n')
case("base_alone", "FROM busybox\n")
case("empty_history", "FROM busybox\nENV A=1\nRUN true\nCMD x\nCOPY f /\nLABEL a=b\n", {"f": "f"})
case(
    "arg_in_history", "FROM busybox\nARG A=1\nARG B\nRUN echo $A > /a\nCOPY f /\n", {"f": "f"}, flags="--build-arg B=2"
)
case("epoch_other", "FROM busybox\nCOPY f /\nRUN touch /g\nWORKDIR /w\nENV A=1\n", {"f": "f"}, epoch=1_234_567_890)
case("epoch_arg", "FROM busybox\nARG SOURCE_DATE_EPOCH\nRUN echo $SOURCE_DATE_EPOCH > /e\n", epoch=1_234_567_890)

FULL = Layout(
    ({"f": "1"}, {}, {"g": "2"}),
    {
        "User": "7:8",
        "Env": ["A=base", "PATH=/p", "EMPTY="],
        "Entrypoint": ["/e", "x"],
        "Cmd": ["c"],
        "WorkingDir": "/wd",
        "ExposedPorts": {"9/tcp": {}},
        "Volumes": {"/vol": {}},
        "Labels": {"l": "base"},
        "StopSignal": "SIGHUP",
        "StopTimeout": 5,
        "Shell": ["/s", "-c"],
        "Healthcheck": {"Test": ["CMD", "h"], "Interval": 5000000000},
        "OnBuild": ["ENV TRIGGERED=yes", "LABEL t=$TRIGGERED"],
        "Hostname": "old",
        "Domainname": "d",
        "AttachStdin": True,
        "Tty": True,
        "ArgsEscaped": True,
        "Image": "sha256:old",
    },
    {
        "author": "Someone",
        "os.version": "1.2",
        "variant": "v2",
        "docker_version": "18.09",
        "container": "abc",
        "history": [
            {"created": "2001-02-03T04:05:06Z", "created_by": "one", "author": "A", "comment": "c"},
            {"created": "2001-02-03T04:05:07.5Z", "created_by": "empty", "empty_layer": True},
            {"created_by": "two"},
            {"created": "2001-02-03T04:05:08Z", "created_by": "three"},
        ],
    },
)
BASE = {"flags": "--build-context base=oci-layout://{beside}/base", "beside": {"base": FULL}}
case("base_full", "FROM base\n", **BASE)
case(
    "base_full_changed",
    "FROM base\nENV B=$A A=2\nLABEL m=n\nUSER 1\nWORKDIR sub\nCMD x\nEXPOSE 1\nCOPY f .\n",
    {"f": "f"},
    **BASE,
)
case("base_full_entrypoint", 'FROM base\nENTRYPOINT ["n"]\nHEALTHCHECK NONE\nSTOPSIGNAL 3\nSHELL ["/t"]\n', **BASE)
case("base_full_copied_from", "FROM scratch\nCOPY --from=base /f /g /\n", **BASE)
SHORT = {"flags": BASE["flags"], "beside": {"base": Layout(({"f": "no"}, {"g": "history"}), {}, {"history": []})}}
case("base_without_history", "FROM base\nCOPY f /h\n", {"f": "f"}, **SHORT)
PLAIN = {"flags": BASE["flags"], "beside": {"base": Layout(({"f": "plain"},), {}, {}, "")}}
case("base_uncompressed", "FROM base\nCOPY f /h\n", {"f": "f"}, **PLAIN)
ZSTD = {"flags": BASE["flags"], "beside": {"base": Layout(({"f": "zstd"},), {"Cmd": None, "Env": None}, {}, "zst")}}
case("base_zstd", "FROM base\nCOPY f /h\n", {"f": "f"}, **ZSTD)
case(
    "annotations", "FROM scratch\nCOPY f /\n", {"f": "f"}, flags="--annotation a=b --annotation manifest-descriptor:c=d"
)
