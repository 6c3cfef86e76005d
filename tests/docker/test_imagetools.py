"""Indexes made of images that are there: as `docker buildx imagetools create` makes them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

import pybuild_magic
from pybuild_magic.cli import main as run_command
from pybuild_magic.errors import BuildError
from pybuild_magic.notebook.commands import images
from pybuild_magic.notebook.imagetools_command import imagetools
from tests.integration.lab import close_builder
from tests.services.baseimages import skopeo
from tests.services.buildkit import Engine
from tests.services.registry import Registry

PLATFORMS = ("linux/amd64", "linux/arm64")


@pytest.fixture
def names(tmp_path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Two images in a registry, each for one platform."""
    monkeypatch.setenv("PYBUILD_HOME", str(tmp_path / "home"))
    close_builder()
    repository = f"{registry.host}/tools/{uuid.uuid4().hex}"
    found = [f"{repository}:{platform.partition('/')[2]}" for platform in PLATFORMS]
    for name, platform in zip(found, PLATFORMS, strict=True):
        pybuild_magic.build(
            f"FROM scratch\nCOPY f /\nLABEL a={platform}\n", {"f": platform}, platforms=platform, tags=name, push=True,
            progress="none",
        )  # fmt: skip
    yield [repository, *found]
    close_builder()


def test_an_index_is_buildx_to_the_byte(names: list[str], engine: Engine) -> None:
    repository, *sources = names
    ours = imagetools(["create", "--dry-run", *(f"docker://{name}" for name in sources)])
    theirs = engine.docker("buildx", "imagetools", "create", "--dry-run", *sources).stdout
    assert json.loads(str(ours)) == json.loads(theirs)
    imagetools(["create", "-t", f"docker://{repository}:both", *(f"docker://{name}" for name in sources)])
    pushed = skopeo("inspect", "--raw", f"docker://{repository}:both")
    assert pushed.strip() == theirs.strip()
    assert [entry["platform"]["architecture"] for entry in json.loads(pushed)["manifests"]] == ["amd64", "arm64"]
    shown = repr(imagetools(["inspect", f"docker://{repository}:both"]))
    assert all(platform in shown for platform in PLATFORMS)
    raw = repr(imagetools(["inspect", "--raw", f"{repository}:both"]))
    assert json.loads(raw) == json.loads(pushed)


def test_more_is_added_and_the_store_has_indexes_too(names: list[str]) -> None:
    repository, first, second = names
    imagetools(["create", "-t", f"docker://{repository}:grows", f"docker://{first}"])
    imagetools(["create", "--append", "-t", f"docker://{repository}:grows", f"docker://{second}"])
    assert len(json.loads(skopeo("inspect", "--raw", f"docker://{repository}:grows"))["manifests"]) == 2
    shown = json.loads(str(imagetools(["create", "-t", "here", "--annotation", "a=b", f"docker://{repository}:grows"])))
    assert shown["annotations"] == {"a": "b"}
    assert "here" in repr(images([]))


@pytest.fixture(scope="module")
def built(engine: Engine, registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A repository with images of BuildKit's: `two` platforms with provenance, `one` of them, Docker's `old` format."""
    repository = f"{registry.host}/tools/{uuid.uuid4().hex}"
    context = tmp_path_factory.mktemp("context")
    (context / "f").write_text("f")
    text = "FROM scratch\nCOPY f /\nENV A=b\nEXPOSE 80\nLABEL c=d\n"
    for tag, flags in {
        "two": ("--platform=linux/amd64,linux/arm64", "--provenance=mode=max", "--push"),
        "one": ("--platform=linux/amd64", "--provenance=mode=max", "--push"),
        "old": ("--platform=linux/arm/v7", "--provenance=false", "--output=type=image,push=true,oci-mediatypes=false"),
    }.items():
        engine.buildx_build(context, "-t", f"{repository}:{tag}", *flags, dockerfile=text)
    return repository


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("PYBUILD_HOME", str(tmp_path / "home"))
    close_builder()
    yield
    close_builder()


@pytest.mark.parametrize(
    "words",
    [
        ":one :old",
        ":two :one :one",
        ":old",
        "--prefer-index=false :old",
        "--prefer-index=false :two",
        "--annotation index:a=b --annotation manifest-descriptor:c=d :two",
        "--annotation manifest-descriptor[linux/arm64],index:c=d=e :two",
        "--platform linux/arm64 :two",
        "-p linux/arm64,linux/arm/v7 :two :old",
        "-p linux/amd64 -p linux/arm64 :two",
        "-t :new DIGEST",
        "-t :new -f FILE :two",
    ],
)
@pytest.mark.usefixtures("home")
def test_a_new_index_is_buildx_to_the_byte(words: str, built: str, engine: Engine, tmp_path: Path) -> None:
    entry = json.loads(engine.docker("buildx", "imagetools", "inspect", "--raw", f"{built}:two").stdout)["manifests"][1]
    described = {
        "digest": entry["digest"],
        "annotations": {"a": "b"},
        "platform": {"os": "linux", "architecture": "386"},
    }
    file = tmp_path / "descriptor.json"
    file.write_text(json.dumps(described))
    line = words.replace("DIGEST", entry["digest"]).replace("FILE", str(file)).split()
    theirs, ours = ([kind + built + word if word[0] == ":" else word for word in line] for kind in ("", "docker://"))
    expected = engine.docker("buildx", "imagetools", "create", "--dry-run", *theirs).stdout
    shown = imagetools(["create", "--dry-run", *ours])
    assert f"{shown!r}\n" == expected
    names = (f"{built}:a", f"{built}:b") if "-t" in line else (f"{built}/new:a", f"{built}/other:latest")
    imagetools(["create", *(word for name in names for word in ("-t", f"docker://{name}")), *ours])
    for name in names:
        assert engine.docker("buildx", "imagetools", "inspect", "--raw", name).stdout == expected.removesuffix("\n")


LOOPS = [
    "{{range .Manifest.Manifests}}{{.Platform.OS}}/{{.Platform.Architecture}} {{.Digest}}\n{{end}}",
    '{{range $i, $m := .Manifest.Manifests}}{{if $i}}, {{end}}{{$i}}={{$m.Digest | printf "%.12s"}}{{end}}',
    '{{range .Manifest.Manifests}}{{if eq .Platform.Architecture "arm64"}}{{.Size}}{{break}}{{end}}{{end}}',
    '{{range .Manifest.Manifests}}{{if ne .Platform.OS "linux"}}{{continue}}{{end}}{{.MediaType}} {{end}}',
    "{{range $platform, $image := .Image}}{{$platform}}: {{range $image.Config.Env}}{{.}} {{end}}{{$.Name}}\n{{end}}",
    "{{len .Manifest.Manifests}} {{len .Image}} {{len .Name}}",
    "{{range .Manifest.Manifests}}{{with .Annotations}}{{json .}}{{else}}none{{end}};{{end}}",
    "{{range .Manifest.Manifests}}[{{.Platform.Variant}}]{{end}}",
    "{{- range .Manifest.Manifests -}} {{ .Digest }} {{- end -}}",
    "{{(index .Manifest.Manifests 0).Digest}} {{(index .Image `linux/arm64`).Config.Labels.c}}",
    '{{printf "%-12s|%5d|%05d|%q|%v|%x|%%" "a" 7 42 "b" true 255}}',
    "{{$n := 0}}{{range .Manifest.Manifests}}{{$n = .Size}}{{end}}{{if gt $n 1}}large{{end}}",
]
CHOICES = [
    "{{if .Image.Config.Labels}}{{range $k, $v := .Image.Config.Labels}}{{$k}}={{$v}}{{end}}{{else}}no{{end}}",
    "{{with .Image.Config}}{{.Env}} {{$.Name}}{{end}}",
    "{{with .Image.Config.User}}{{.}}{{else with .Image.OS}}on {{.}}{{else}}nobody{{end}}",
    "{{if .Image.Config.User}}a{{else if .Image.Config.Env}}b{{else}}c{{end}}",
    '{{$os := .Image.OS}}{{$os}}{{$os = "x"}}{{$os}}',
    "{{range $i, $e := .Image.Config.Env}}{{$i}}{{$e}}{{end}}{{range .Image.Config.Cmd}}x{{else}}none{{end}}",
    "{{and .Image.Config.User .Image.OS}}|{{or .Image.Config.User .Image.OS}}|{{not .Image.OS}}",
    '{{eq .Image.OS "a" "linux"}} {{le 1 2}} {{ge 1 2}} {{lt "a" "b"}}',
    '{{print .Image.OS 1 2 "x"}}{{println .Image.OS 1}}',
    "{{slice .Image.OS 1 3}} {{len (slice .Image.Config.Env 0 1)}}",
    '{{index .Image.Config.Labels "c"}} {{.Image.Config.Labels.c | printf "%s-%s" "got"}}',
    "{{.Image.Config.WorkingDir}}{{len .Image.History}}",
    "{{if and .Image.Config.User (index .Image.Config.Env 99)}}x{{end}}.",
    "{{range .Image.RootFS.DiffIDs}}{{printf `%.10s` .}}{{end}}",
]


@pytest.mark.parametrize("tag", ["two", "one", "old"])
@pytest.mark.usefixtures("home")
def test_an_inspection_prints_the_bytes_of_buildx(
    tag: str, built: str, engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    templates = [f"{{{{json .{name}}}}}" for name in ("", "Manifest", "Image", "Provenance", "SBOM")]
    templates.append("{{.Name}}{{- /* no room */ -}} !")
    if tag == "two":
        templates.append('{{json (index .Image "linux/arm64")}}')
        templates += LOOPS
        templates.append('{{ (index .Provenance "linux/arm64").SLSA.buildType }}')
    else:
        templates += CHOICES
        templates.append("{{.Image.OS}} {{.Image.Config.Env}} {{.Image.RootFS.DiffIDs | json}}")
    for words in (["--raw"], *(["--format", template] for template in templates)):
        expected = engine.docker("buildx", "imagetools", "inspect", *words, f"{built}:{tag}").stdout
        assert run_command(["imagetools", "inspect", *words, f"{built}:{tag}"]) == 0
        assert capsys.readouterr().out == expected, words


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("{{.Nope}}", "There is no Nope in the document. It has name, manifest, image, Provenance, SBOM."),
        ("{{.Image.Config.Nope}}", "There is no Nope in .Image.Config."),
        ("{{.Image}}", "{{.Image}} has more than one value. Write {{json"),
        ("{{json .Name .Name}}", "json takes one value, not 2."),
        ('{{index .Image "linux/arm64"}}', "index: there is no 'linux/arm64'. It has created,"),
        ("{{range .Name}}x{{end}}", "it ranges over a list or a mapping"),
        ("{{range .Image}}x", "has {{range}} without an end. It ends with {{end}}."),
        ("{{if .Name}}x{{else}}y{{else}}z{{end}}", "else is not something"),
        ("{{end}}", "end is not something"),
        ("{{break}}", "break is not something"),
        ("{{$x}}", "there is no variable $x. It is set with {{$x := …}}."),
        ('{{template "x"}}', "template is not something that a template can have here. The functions are json, index,"),
        ("{{html .Name}}", "html is not something"),
        ('{{printf "%f" 1}}', "printf: %f is not known. It knows %v, %s, %d, %q, %x and %%."),
        ('{{printf "%d" .Name}}', "is not a number"),
        ('{{printf "%9999d" 1}}', "printf: %9999 is not known."),
        ('{{"\\x41"}}', "is not something"),
        ("{{" + "(" * 5000, "has an action that does not end"),
        ("{{" + "(" * 5000 + "}}", "nested too deeply"),
        ("{{len 1}}", "len takes a text, a list or a mapping."),
        ('{{if lt 1 "a"}}{{end}}', "cannot be compared"),
        ("{{json .Image", "has an action that does not end"),
        ("{{(.Name}}", "( is not something"),
        ("{{.Name)}}", ") is not something"),
        ("{{}}", "is not something"),
        ('{{json ""}} {{index (index .Manifest "digest") 0}}', '"" s'),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("home")
def test_what_a_template_cannot_have_is_told(template: str, says: str, built: str) -> None:
    try:
        shown = repr(imagetools(["inspect", "--format", template, f"{built}:old"]))
    except BuildError as error:
        shown = str(error)
    assert says in shown


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "takes create or inspect"),
        (["create", "x"], "The new image needs a name."),
        (["create", "-t", "x"], "No image was named for the index."),
        (["create", "-t", "oci:x", "y"], "An index cannot be written to oci:."),
        (["create", "--dry-run", "--annotation", "a", "x"], "is not KEY=VALUE"),
        (["create", "--dry-run", "--annotation", "manifest:a=b", "x"], "manifests keep their bytes here"),
        (["create", "--dry-run", "-f", "nosuch"], "--file nosuch cannot be read: No such file or directory."),
        (["create", "--dry-run", "sha256:" + 64 * "0"], "needs one repository in a registry, but 0 are named."),
        (["create", "--dry-run", '{"mediaType":"x"}'], "is not a descriptor"),
        (["inspect", "--raw", "--format", "{{.Name}}", "x"], "cannot be used together"),
        (["inspect"], "takes one image"),
        (["create", "--dry-run", "nosuch"], "The image nosuch is not in the store."),
    ],
)
def test_what_is_wrong_is_told(words: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYBUILD_HOME", str(tmp_path / "home"))
    with pytest.raises(BuildError) as caught:
        imagetools(words)
    assert says in str(caught.value)
    close_builder()
