"""ARG and ENV: scopes, defaults, predefined names, and expansion with every modifier in every instruction."""

from ..case import group

case = group("args", {"f": "f\n", "g": "g\n"})

case("global_not_in_stage", 'ARG A=1\nFROM busybox\nRUN echo "[$A]" > /a\nLABEL l=[$A]\n')
case("global_taken", "ARG A=1\nFROM busybox\nARG A\nRUN echo $A > /a\n")
case("global_overridden_default", "ARG A=1\nFROM busybox\nARG A=2\nRUN echo $A > /a\n")
case("global_by_flag", "ARG A=1\nFROM busybox\nARG A=2\nLABEL a=$A\n", flags="--build-arg A=3")
case("global_from_global", "ARG A=1\nARG B=${A}2\nFROM busybox\nARG B\nLABEL b=$B\n")
case("stage_scope_ends", "FROM busybox AS x\nARG A=1\nFROM busybox\nRUN echo [$A] > /a\n")
case("stage_scope_inherited", "FROM busybox AS x\nARG A=1\nFROM x\nRUN echo [$A] > /a\nLABEL l=$A\n")
case("before_and_after", "FROM busybox\nLABEL before=[$A]\nARG A=1\nLABEL after=[$A]\n")
case("several_on_a_line", 'FROM busybox\nARG A=1 B C=$A D="x y"\nLABEL l=$A-$B-$C-$D\n', flags="--build-arg B=bb")
case("no_default_no_value", 'FROM busybox\nARG A\nRUN echo "${A-unset}" > /a\n')
case("empty_default", 'FROM busybox\nARG A=\nRUN echo "${A-unset}" > /a\nLABEL l=${A:-d}\n')
case("env_wins", "FROM busybox\nARG A=arg\nENV A=env\nRUN echo $A > /a\nLABEL l=$A\n", flags="--build-arg A=flag")
case("env_then_arg", "FROM busybox\nENV A=env\nARG A=arg\nRUN echo $A > /a\nLABEL l=$A\n")
case("arg_to_env", "FROM busybox\nARG A\nENV A=${A:-default}\nRUN env | grep ^A= > /a\n", flags="--build-arg A=given")
case("arg_not_in_image_env", "FROM busybox\nARG A=1\nRUN env | grep ^A= > /a\n")
case("arg_from_environment", "FROM busybox\nARG A=1\nLABEL l=$A\n", flags="--build-arg NOT_SET_ANYWHERE")
case("arg_unused_flag", "FROM busybox\nRUN env | sort > /e\n", flags="--build-arg UNUSED=1")
case(
    "predefined_platform",
    "FROM busybox\nARG TARGETPLATFORM TARGETOS TARGETARCH TARGETVARIANT BUILDPLATFORM BUILDOS BUILDARCH BUILDVARIANT TARGETSTAGE\nRUN env | grep -E '^(TARGET|BUILD)' | sort > /e\n",
)
case("predefined_not_without_arg", "FROM busybox\nRUN env | sort > /e\nLABEL l=[$TARGETARCH]\n")
case("predefined_in_from", "FROM --platform=$TARGETPLATFORM busybox\nRUN true\n")
case("predefined_overridden", "FROM busybox\nARG TARGETARCH=mine\nLABEL l=$TARGETARCH\n")
case("predefined_by_flag", "FROM busybox\nARG TARGETARCH\nLABEL l=$TARGETARCH\n", flags="--build-arg TARGETARCH=mine")
case("predefined_global_taken", "ARG TARGETARCH\nFROM busybox\nARG TARGETARCH\nLABEL l=$TARGETARCH\n")
case(
    "proxy",
    "FROM busybox\nRUN env | grep -i proxy | sort > /e\n",
    flags="--build-arg http_proxy=http://p:1 --build-arg NO_PROXY=x",
)
case(
    "proxy_declared",
    "FROM busybox\nARG HTTP_PROXY\nRUN env | grep -i proxy | sort > /e\n",
    flags="--build-arg HTTP_PROXY=http://p:1",
)
case("reserved_buildkit", "FROM busybox\nARG BUILDKIT_SYNTAX\nRUN env | sort > /e\n")
case("hostname", "FROM busybox\nRUN hostname > /h\n", flags="--build-arg BUILDKIT_SANDBOX_HOSTNAME=box")
case("multi_platform_arg", "FROM busybox\nCOPY f /\n", flags="--build-arg BUILDKIT_MULTI_PLATFORM=1")
case("inline_config_args", "FROM busybox\nARG A=1\nRUN true\nARG B=2\nRUN true\nARG A=3\nRUN echo $A$B > /x\n")
case("arg_bad", "FROM busybox\nARG\n")
case("arg_blank_name", "FROM busybox\nARG =1\n")
case("arg_unbalanced", 'FROM busybox\nARG A="b\n')
case("arg_in_from_unused", "ARG A\nFROM busybox\nLABEL l=${A:-none}\n")

# Modifiers
EXPAND = """
    FROM scratch
    ENV A=value E= LONG=path/to/some.tar.gz U=a_b_a
    LABEL plain=$A braces=${A} text=x${A}y none=$NONE both=$A$A \\
      default=${NONE:-d} default_empty=${E:-d} default_unset=${E-d} default_set=${A:-d} nested=${NONE:-${A}x} \\
      alt=${A:+w} alt_empty=${E:+w} alt_unset=${NONE+w} alt_set=${E+w} \\
      short_prefix=${LONG#*/} long_prefix=${LONG##*/} short_suffix=${LONG%.*} long_suffix=${LONG%%.*} \\
      question=${LONG#pat?} no_match=${LONG#zzz} one=${U/a/x} all=${U//a/x} star=${LONG/t*r/-} gone=${U//_/} \\
      escaped=\\$A single='$A' double="$A" double_escaped="\\$A" dollar=$ dollar_end=a$ digit=$1 number=${1:-n}
    COPY f /
    """
case("modifiers", EXPAND)
case("modifier_required", "FROM scratch\nENV A=x\nLABEL l=${A:?no} m=${A?no}\nCOPY f /\n")
case("modifier_required_missing", 'FROM scratch\nLABEL a=b \\\n  l="${A:?is needed}"\nCOPY f /\n')
case("modifier_required_empty", "FROM scratch\nENV A=\nLABEL l=${A:?}\nCOPY f /\n")
case("modifier_required_unset", "FROM scratch\nLABEL l=${A?nope}\nCOPY f /\n")
case("modifier_unknown", "FROM scratch\nLABEL l=${A:x}\nCOPY f /\n")
case("modifier_unclosed", "FROM scratch\nLABEL l=${A\nCOPY f /\n")
case("modifier_empty", "FROM scratch\nLABEL l=${}\nCOPY f /\n")
case("modifier_bad_name", "FROM scratch\nLABEL l=${a.b}\nCOPY f /\n")
case("quote_unclosed", "FROM scratch\nLABEL l='abc\nCOPY f /\n")
case("quote_unclosed_env", 'FROM scratch\nENV A="abc\nCOPY f /\n')
case(
    "pattern_escapes",
    "FROM scratch\nENV A='a*b?c' B=a/b\nLABEL x=${A#a\\*} y=${A%\\?c} z=${B/\\//-} w=${A/\\*/+}\nCOPY f /\n",
)
case("expand_add_copy", 'FROM scratch\nENV S=f D=/dest\nADD $S ${D}/\nCOPY ["$S", "$D/x"]\n')
case("expand_not_in_cmd", 'FROM busybox\nENV A=1\nCMD echo $A\nENTRYPOINT ["x", "$A"]\nRUN ["touch", "/$A"]\n')
case(
    "expand_expose_volume_user",
    "FROM busybox\nENV P=80 V=/v U=daemon\nEXPOSE $P/tcp\nVOLUME $V\nUSER $U\nSTOPSIGNAL ${S:-9}\n",
)
case("expand_onbuild", "FROM busybox\nENV A=1\nONBUILD LABEL l=$A\n")
case("expand_healthcheck", "FROM busybox\nARG I=5s\nHEALTHCHECK --interval=${I} CMD echo $I\n")
case("expand_words_split", "FROM busybox\nENV L='f g'\nCOPY $L /d/\n")
case("expand_env_value_with_space", "FROM scratch\nENV A='x y' B=$A C=\"$A z\"\nLABEL l=$B\nCOPY f /\n")
case("expand_windows_like", "# escape=`\nFROM scratch\nENV A=c:\\dir B=`$A C=x` y\nLABEL l=$A `\n  m=2\nCOPY f /\n")
case("expand_same_instruction", "FROM scratch\nENV A=1\nENV A=2 B=$A\nLABEL A=x l=$A\nCOPY f /\n")
case("expand_from_with_default", "FROM ${BASE:-busybox} AS ${NAME:-x}\nCOPY f /\n")
case("expand_unicode", "FROM scratch\nENV Ü=1 A=ü\nLABEL l=$Ü m=${A} n=${A#ü}.\nCOPY f /\n")
case("expand_from_image_env", "FROM busybox\nLABEL l=$PATH\nENV PATH=$PATH:/x\n")
