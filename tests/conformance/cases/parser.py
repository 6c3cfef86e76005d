"""The parser: directives, comments, continuations, case, blanks, byte order marks, and what is refused."""

from ..case import group

case = group("parser", {"f": "f\n"})

case("comments", "# top\nFROM scratch\n# between\n  # indented\nCOPY f /\n# last\n")
case("comment_after_words", "FROM scratch\nCOPY f / # not a comment\n")
case("comment_after_words_kept", 'FROM busybox\nENV A=b#c D="#"\nRUN echo x # a comment of the shell\n')
case("comment_in_continuation", "FROM busybox\nRUN echo a \\\n# gone\n  # gone too\n  b > /x && \\\n\n  true\n")
case("continuation_spaces", "FROM busybox\nRUN echo a \\  \n  b > /x\n", raw=True)
case("continuation_at_end", "FROM busybox\nRUN echo a > /x \\\n", raw=True)
case("no_newline_at_end", "FROM scratch\nCOPY f /", raw=True)
case("crlf", "FROM busybox\r\nRUN echo a \\\r\n  b > /x\r\nCOPY f /\r\n", raw=True)
case("bom", "\ufeffFROM scratch\nCOPY f /\n", raw=True)
case("tabs", "FROM\tbusybox\n\tCOPY\tf\t/d/\n\tRUN\techo\ta >\t/x\n", raw=True)
case("lower_case", "from busybox\ncopy f /\nrun echo x > /x\nEnV a=B\n")
case("leading_blank", "\n\n   FROM scratch\n   COPY f /\n", raw=True)
case("escape_backtick", '# escape=`\nFROM busybox\nRUN echo a `\n  b > /x\nENV A=a`"b\n')
case("escape_bad", "# escape=x\nFROM scratch\n")
case("escape_twice", "# escape=`\n# escape=\\\nFROM scratch\n")
case("directive_after_comment", "# comment\n# escape=`\nFROM busybox\nRUN echo a \\\n  b > /x\n")
case("directive_after_blank", "\n# escape=`\nFROM busybox\nRUN echo a \\\n  b > /x\n", raw=True)
case("directive_spaces", "#  EsCaPe  =  `  \nFROM busybox\nRUN echo a `\n  b > /x\n")
case("directive_unknown", "# foo=bar\n# escape=`\nFROM busybox\nRUN echo a `\n  b > /x\n")
case("directive_check", "# check=skip=all\nFROM scratch\nCOPY f /\n")
case("unknown", "FROM scratch\nCPY f /\n")
case("unknown_far", "FROM scratch\nZZZZZZ f /\n")
case("unknown_in_continuation", "FROM busybox\nRUN true && \\\n  true\nfoo\n")
case("empty_continuation_lines", "FROM busybox\nRUN echo a \\\n\n\n  > /x\n")
case("no_arguments", "FROM scratch\nCOPY\n")
case("run_empty", "FROM busybox\nRUN\n")
case("json_nested", 'FROM busybox\nRUN [["a"]]\n')
case("json_number", 'FROM busybox\nCMD ["a", 1]\n')
case("json_trailing", 'FROM busybox\nCMD ["a"] b\n')
case("json_spaces", 'FROM busybox\nCMD   [ "a" ,\t"b" ]  \n')
case("json_lines", 'FROM busybox\nCMD [ \\\n  "a", \\\n  "b" \\\n]\n')
case("json_escapes", 'FROM busybox\nCMD ["\\n\\t\\\\ \\u20ac \\ud83d\\ude00"]\n')
case("json_bad_escape", 'FROM busybox\nCMD ["\\x"]\n')
case("history_spaces", "FROM busybox\nRUN   echo   a    >   /x  \nENV   A=1   B=2\nCOPY   f   /y\n")
case(
    "history_continuation",
    "FROM busybox\nRUN echo a \\\n   && echo b \\\n   > /x\nCOPY f \\\n  /y\nENV A=1 \\\n    B=2\n",
)
case("history_quotes", 'FROM busybox\nRUN echo "a \'b\'" \'c "d"\' > /x\nENV A="b c"\nLABEL "a b"="c d"\n')
case("long_line", "FROM busybox\nRUN echo " + "x" * 70_000 + " | wc -c > /x\n")
case("flag_double_dash", "FROM busybox\nRUN -- echo a > /x\n")
case("flag_unknown_run", "FROM busybox\nRUN --mout=type=cache true\n")
case("flag_no_value_run", "FROM busybox\nRUN --network true\n")
case("flag_on_env", "FROM busybox\nENV --x=1 A=2\n")
case("flag_on_workdir", "FROM busybox\nWORKDIR --x /a\n")
case("flag_on_cmd", "FROM busybox\nCMD --x a\n")
case("nul_byte", "FROM busybox\nRUN echo a\0b > /x\n")
case("not_utf8", "FROM busybox\nRUN echo caf\udce9 > /x\nLABEL l=\udcff\n", raw=True)
case(
    "two_froms_in_error",
    "FROM busybox AS a\nRUN true\nFROM b.invalid/nope AS c\nCOPY --from=a /x /\n",
    says="b.invalid/nope:latest",
)
case(
    "syntax_builtin",
    "# syntax=docker/dockerfile:1\nFROM scratch\nCOPY f /\n",
    instead="FROM scratch\nCOPY f /\n",
    note="Without a network BuildKit cannot pull the front end; it built the Dockerfile without that line",
)

# Heredocs
here = group("heredoc", {"f": "f\n"})
here("run", "FROM busybox\nRUN <<EOF\necho a > /a\necho b > /b\nEOF\n")
here("run_fails_midway", "FROM busybox\nRUN <<EOF\nfalse\necho b > /b\nEOF\n")
here("run_set_e", "FROM busybox\nRUN <<EOF\nset -e\nfalse\necho b > /b\nEOF\n")
here("run_shebang", "FROM busybox\nRUN <<EOF\n#!/bin/sh -e\necho $0 | sed 's/[0-9]//g' > /a\necho ${X:-b} > /b\nEOF\n")
here("run_shebang_other", "FROM busybox\nRUN <<EOF\n#!/bin/cat\nhello\nEOF\n")
here("run_interpreter", "FROM busybox\nRUN sh -e <<EOF\necho $HOME > /a\nEOF\n")
here("run_redirect", 'FROM busybox\nRUN cat <<EOF > /a\n$HOME "q" `echo x`\nEOF\n')
here("run_quoted", "FROM busybox\nRUN cat <<'EOF' > /a\n$HOME \"q\"\nEOF\n")
here("run_several", "FROM busybox\nRUN cat <<A <<B - > /a\nin a\nA\nin b\nB\n")
here("run_two_files", "FROM busybox\nRUN (cat <<ONE; cat <<TWO) > /a\none\nONE\ntwo\nTWO\n")
here("run_tabs", "FROM busybox\nRUN <<-EOF\n\techo a > /a\n\t\techo b > /b\n\tEOF\n", raw=True)
here("run_arg", "FROM busybox\nARG A=1\nENV B=2\nRUN <<EOF\necho $A $B ${C:-3} > /a\nEOF\n")
here("run_mount", "FROM busybox\nRUN --mount=type=bind,target=/m <<EOF\ncat /m/f > /a\nEOF\n")
here("run_empty", "FROM busybox\nRUN <<EOF\nEOF\n")
here("run_shell_changed", 'FROM busybox\nSHELL ["/bin/sh", "-exc"]\nRUN <<EOF\necho a > /a\nEOF\n')
here("copy", "FROM scratch\nCOPY <<EOF /a\nhello\nEOF\n")
here(
    "copy_expands", "FROM scratch\nARG A=1\nENV B=two\nCOPY <<EOF /a\n$A ${B} ${C:-c} \\$D \"q\" 'r' \\\\ \\n $\nEOF\n"
)
here("copy_quoted", 'FROM scratch\nENV B=two\nCOPY <<"EOF" /a\n$A ${B} \\$D \\\\\nEOF\n')
here("copy_tabs", "FROM scratch\nCOPY <<-EOF /a\n\tone\n\t\ttwo\n\t  three\n\tEOF\n", raw=True)
here("copy_several", "FROM scratch\nCOPY <<one.txt <<two.txt /d/\n1\none.txt\n2\ntwo.txt\n")
here("copy_with_files", "FROM scratch\nCOPY <<one.txt f /d/\n1\none.txt\n")
here(
    "copy_flags",
    "FROM busybox\nCOPY --chown=daemon --chmod=755 <<EOF /x/y\nhi\nEOF\nCOPY --chown=1:2 <<EOF /z\nhi\nEOF\n",
)
here("copy_link", "FROM busybox\nCOPY --link --chmod=600 <<EOF /x/y\nhi\nEOF\n")
here("copy_empty", "FROM scratch\nCOPY <<EOF /e\nEOF\n")
here("copy_to_dir", "FROM scratch\nWORKDIR /w\nCOPY <<EOF .\nhi\nEOF\nCOPY <<name.txt sub/\nhi\nname.txt\n")
here("copy_blank_lines", "FROM scratch\nCOPY <<EOF /a\n\n  indented\n\n# not a comment\n\\\n\nEOF\n")
here("copy_dockerfile_inside", "FROM scratch\nCOPY <<EOF /Dockerfile\nFROM x\nRUN <<E2\nfoo\nE2\nEOF\n")
here("copy_over", "FROM busybox\nCOPY <<EOF /etc/passwd\nroot:x:0:0::/:\nEOF\n")
here("add", "FROM scratch\nADD <<EOF /a\nhello\nEOF\n")
here("unterminated", "FROM scratch\nCOPY <<EOF /a\nhello\n")
here("unterminated_second", "FROM scratch\nCOPY <<A <<B /d/\n1\nA\n2\n")
here("not_heredoc", "FROM busybox\nRUN echo '<<EOF' > /a && echo $((1<<2)) > /b\n")
here("in_cmd", "FROM busybox\nCMD <<EOF\necho a\nEOF\n")
here("required_modifier", "FROM scratch\nCOPY <<EOF /a\n${NOPE:?needed}\nEOF\n")
here("crlf", "FROM scratch\r\nCOPY <<EOF /a\r\nhello\r\nEOF\r\n", raw=True)
here("exec_form_no", 'FROM busybox\nRUN ["cat", "<<EOF"]\n')
