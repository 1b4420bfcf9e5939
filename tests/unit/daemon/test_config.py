# SPDX-License-Identifier: GPL-2.0-or-later
"""usb4rdmad.toml: what is taken, and what people are told."""

from __future__ import annotations

from ipaddress import IPv4Network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as how
from hypothesis import strategies as st

from usb4rdmad import __main__ as program
from usb4rdmad import config
from usb4rdmad.errors import ConfigInvalid
from usb4rdmad.model import Policy, Settings

SHIPPED = Path(__file__).parents[3] / "packaging" / "common" / "usb4rdmad.toml"


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "usb4rdmad.toml"
    path.write_text(text)
    return path


def test_no_file_means_defaults_and_strangers_stay_out(tmp_path: Path) -> None:
    settings = config.load(tmp_path / "none.toml").settings()
    assert settings == Settings()
    assert settings.policy is Policy.CONFIRM


def test_shipped_file_shows_the_defaults(tmp_path: Path) -> None:
    text = SHIPPED.read_text()
    assert config.load(written(tmp_path, text)) == config.Config()
    shown = "\n".join(
        line.removeprefix("#")
        for line in text.splitlines()
        if line.startswith(("[", "#")) and ("=" in line or line.startswith("["))
    )
    assert config.load(written(tmp_path, shown)) == config.Config()
    for section in config.Config().model_dump().values():
        for key in section:
            assert f"#{key} = " in text


def test_drop_ins_win_in_order(tmp_path: Path) -> None:
    path = written(tmp_path, '[pairing]\npolicy = "off"\n[network]\nmtu = 2000\n')
    folder = tmp_path / "usb4rdmad.toml.d"
    folder.mkdir()
    (folder / "20-b.toml").write_text("[network]\nmtu = 4000\n")
    (folder / "10-a.toml").write_text("[network]\nmtu = 3000\nipv4 = false\n")
    (folder / "ignored.conf").write_text("nonsense")
    settings = config.load(path).settings()
    assert (settings.policy, settings.mtu, settings.ipv4_pool) == (Policy.OFF, 4000, None)


@pytest.mark.parametrize("pool", ["10.77.0.0/16", "100.64.0.0/10"])
def test_pool_is_taken(tmp_path: Path, pool: str) -> None:
    path = written(tmp_path, f'[network]\nipv4_pool = "{pool}"\n')
    assert config.load(path).settings().ipv4_pool == IPv4Network(pool)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            '[pairing]\npolicy = "allways"\n',
            'policy = "allways": expected one of "confirm", "tofu"',
        ),
        ('[pairing]\npolicy = "conform"\n', 'did you mean "confirm"?'),
        ("[pairing]\npolicy = 7\n", 'expected one of "confirm"'),
        ('[pairing]\npolcy = "off"\n', 'no such setting (did you mean "policy"?)'),
        ('[pairng]\npolicy = "off"\n', '[pairng]: no such setting (did you mean "pairing"?)'),
        ("[network]\nmtu = 17\n", "mtu = 17: expected 1280 to 65520"),
        ("[network]\nmtu = 65521\n", "expected 1280 to 65520"),
        ('[network]\nmtu = "4192"\n', "expected a number"),
        ("[network]\nmtu = true\n", "expected a number"),
        ("[network]\nipv6 = 1\n", "expected true or false"),
        ('[network]\nipv4_pool = "8.8.0.0/16"\n', "expected a private IPv4 network"),
        ('[network]\nipv4_pool = "169.254.0.1/16"\n', "expected an IPv4 network such as"),
        ('[network]\nipv4_pool = "10.0.0.0/30"\n', "of /28 or larger"),
        ('[network]\nipv4_pool = "127.0.0.0/8"\n', "expected a private IPv4 network"),
        ('[network]\nipv4_pool = "192.0.2.0/24"\n', "in one of 169.254.0.0/16, 10.0.0.0/8"),
        ('[network]\nipv4_pool = "169.254.169.0/24"\n', "expected a private IPv4 network"),
        ('[log]\nlevel = "loud"\n', "expected one of"),
        ("[network]\nmtu = " + "[" * 5000 + "\n", "nested too deeply"),
        ("[network]\nmtu = " + "{a = " * 5000 + "\n", "nested too deeply"),
        ("network = 3\n", "expected a section"),
        ("[network\n", "not TOML"),
        ("mtu 5\n", "not TOML"),
        ("\x00", "not TOML"),
    ],
)
def test_each_fault_is_told_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ConfigInvalid) as caught:
        config.load(path)
    message = str(caught.value)
    assert said in message and str(path) in message
    assert "pydantic" not in message and "http" not in message


def test_the_drop_in_with_the_fault_is_named(tmp_path: Path) -> None:
    path = written(tmp_path, "")
    folder = tmp_path / "usb4rdmad.toml.d"
    folder.mkdir()
    (folder / "99-x.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigInvalid, match="99-x.toml"):
        config.load(path)


def test_check_config_says_fine_or_what_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, "[network]\nmtu = 17\n")
    assert program.main(["--config", str(path), "--check-config"]) == 78
    assert "mtu = 17" in capsys.readouterr().err
    path.write_text("")
    assert program.main(["--config", str(path), "--check-config"]) == 0
    assert "fine" in capsys.readouterr().out


@how(max_examples=300, deadline=None)
@given(st.text(max_size=200))
def test_no_text_raises_anything_else(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.toml"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    try:
        config.load(path)
    except ConfigInvalid:
        pass
