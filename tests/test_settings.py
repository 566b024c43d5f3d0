"""Settings: where they come from, what is refused, and what the messages say."""

from __future__ import annotations

import os
import string
import subprocess
import sys
from dataclasses import FrozenInstanceError, asdict, fields, replace

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from otel_llmon import settings, telemetry
from otel_llmon.errors import LlmonError, SettingsError
from otel_llmon.prices import Prices, TokenPrice
from otel_llmon.settings import CONFIG, Settings, effective

names = st.text(string.ascii_lowercase, min_size=1, max_size=8).filter(lambda name: name != "none")
a_check = st.sampled_from(
    [
        {
            "http": "http://localhost/health",
            "status": [200, 204],
            "json": {"a.0": None},
            "every": 2.5,
            "method": "head",
        },
        {"tcp": "[::1]:5432", "required": False, "rise": 2},
        {"ollama": "localhost", "model": "llama3.2"},
        {"openai": "http://localhost:8000/v1", "health": "/health"},
        {"disk": "/data", "free": 0.25, "timeout": 1},
    ]
)
anything = st.builds(
    Settings,
    level=st.sampled_from(["disabled", "basic", "detailed", "profiling"]),
    observers=st.lists(names, unique=True, max_size=4).map(tuple),
    observer_interval=st.floats(min_value=0, exclude_min=True, max_value=86400),
    histograms=st.sampled_from(["explicit", "exponential"]),
    exit_timeout=st.floats(min_value=0, max_value=86400),
    log_bridge=st.booleans(),
    event_rate=st.floats(min_value=0, allow_infinity=False),
    baggage_keys=st.lists(names, unique=True, max_size=4).map(tuple),
    max_value_length=st.integers(min_value=1),
    checks=st.dictionaries(names, a_check, max_size=3),
    prices=st.builds(
        Prices,
        cpu_hour=st.none() | st.floats(0, 1e9),
        kwh=st.none() | st.floats(0, 1e9),
        models=st.dictionaries(st.text(min_size=1), st.builds(TokenPrice, st.floats(0, 1e9), st.floats(0, 1e9))),
    ),
    carbon_intensity=st.none() | st.floats(0, 1e9),
    conveyance_alpha=st.floats(0, 10),
    service=st.none() | names,
    endpoint=st.sampled_from([None, "http://localhost:4318", "https://otel.example/prefix"]),
    loki_url=st.sampled_from(["http://127.0.0.1:3100", "https://loki.example/prefix"]),
    collector_health_url=st.sampled_from([None, "http://127.0.0.1:13133"]),
)


@pytest.fixture
def llmon_yaml(tmp_path, monkeypatch):
    """A function that writes llmon.yaml into an empty working directory."""
    monkeypatch.chdir(tmp_path)

    def write(text):
        tmp_path.joinpath("llmon.yaml").write_text(text, encoding="utf-8")
        return "llmon.yaml"

    return write


def refusal(environ=None, file=None):
    """Return the message with which these settings are refused."""
    with pytest.raises(SettingsError) as caught:
        Settings.load(environ or {}, file)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_without_a_word_the_defaults_are_in_force():
    """An empty environment and no file give the defaults."""
    assert Settings.load({}) == Settings()
    assert Settings().observers == ("auto",)
    assert Settings().level == "detailed"


def test_the_environment_wins_over_the_file_and_the_file_over_the_defaults(llmon_yaml):
    """Each setting is taken from the strongest place that mentions it, and that place is remembered."""
    file = llmon_yaml("level: basic\nservice: from-file\n")
    found = effective({"OTEL_LLMON_SERVICE": "from-environment"}, file)
    assert found["service"] == ("from-environment", "environment")
    assert found["level"] == ("basic", "file")
    assert found["log_bridge"] == (True, "default")


def test_the_environment_can_name_the_file_and_an_argument_replaces_it(llmon_yaml, tmp_path):
    """OTEL_LLMON_CONFIG is read, unless a file is given."""
    file = llmon_yaml("level: basic\n")
    other = tmp_path / "other.yaml"
    other.write_text("level: profiling\n", encoding="utf-8")
    assert Settings.load({CONFIG: file}).level == "basic"
    assert Settings.load({CONFIG: file}, other).level == "profiling"


def test_a_file_that_nobody_named_is_not_read(llmon_yaml):
    """A llmon.yaml in the working directory changes nothing by itself."""
    llmon_yaml("level: basic\n")
    assert Settings.load({CONFIG: ""}) == Settings()


def test_upstream_can_switch_everything_off(llmon_yaml):
    """OTEL_SDK_DISABLED=true disables, whatever our own variables say; false changes nothing."""
    environ = {"OTEL_LLMON_LEVEL": "profiling", "OTEL_SDK_DISABLED": "True"}
    assert effective(environ)["level"] == ("disabled", "environment")
    assert Settings.load(environ | {"OTEL_SDK_DISABLED": "false"}).level == "profiling"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("host,gpu", ("host", "gpu")),
        (" host , gpu, host,", ("host", "gpu")),
        ("", ()),
        ("none", ()),
    ],
)
def test_observers_are_names_with_commas_between_them(given, expected):
    """Blanks, repetitions and empty names are dropped; an empty value and none mean no observer."""
    assert Settings.load({"OTEL_LLMON_OBSERVERS": given}).observers == expected


@pytest.mark.parametrize("text", ["observers: [host, gpu]", "observers: host, gpu"])
def test_observers_in_a_file_are_a_list_or_one_line(llmon_yaml, text):
    """Both spellings of YAML give the same names."""
    assert Settings.load({}, llmon_yaml(text)).observers == ("host", "gpu")


def test_an_empty_value_counts_as_unset(llmon_yaml):
    """An empty variable and an empty line of the file leave what was there."""
    found = effective({"OTEL_LLMON_SERVICE": "", "OTEL_LLMON_LEVEL": ""}, llmon_yaml("level: basic\nendpoint:\n"))
    assert found["level"] == ("basic", "file")
    assert found["service"] == (None, "default")
    assert found["endpoint"] == (None, "default")


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("LEVEL", "loud", "disabled, basic, detailed or profiling"),
        ("OBSERVER_INTERVAL", "0", "a number of seconds above 0, 86400 at most"),
        ("OBSERVER_INTERVAL", "nan", "a number of seconds above 0, 86400 at most"),
        ("OBSERVER_INTERVAL", "1e300", "a number of seconds above 0, 86400 at most"),
        ("EXIT_TIMEOUT", "-1", "a number of seconds, 0 to 86400"),
        ("EXIT_TIMEOUT", "inf", "a number of seconds, 0 to 86400"),
        ("EXIT_TIMEOUT", "86400.5", "a number of seconds, 0 to 86400"),
        ("HISTOGRAMS", "native", "explicit or exponential"),
        ("LOG_BRIDGE", "yes", "true or false"),
        ("MAX_VALUE_LENGTH", "0", "a whole number, 1 or more"),
        ("MAX_VALUE_LENGTH", "1.5", "a whole number, 1 or more"),
        ("ENDPOINT", "foo", "a URL such as http://localhost:4318"),
        ("ENDPOINT", "ftp://host", "a URL such as http://localhost:4318"),
        ("ENDPOINT", "http://", "a URL such as http://localhost:4318"),
        ("ENDPOINT", "http://host:port", "a URL such as http://localhost:4318"),
        ("ENDPOINT", "http://[::1", "a URL such as http://localhost:4318"),
    ],
)
def test_a_wrong_value_is_refused_with_what_was_expected(variable, value, expected):
    """The message names the variable, the value found and the values allowed."""
    assert refusal({f"OTEL_LLMON_{variable}": value}) == f"OTEL_LLMON_{variable}={value!r}: expected {expected}"


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("level: off", "level=False"),
        ("service: 7", "service=7"),
        ("log_bridge: 1", "log_bridge=1"),
        ("max_value_length: true", "max_value_length=True"),
        ("max_value_length: 2.0", "max_value_length=2.0"),
        ("observer_interval: [1]", "observer_interval=[1]"),
        ("observers: [1]", "observers=[1]"),
        ("observers: {host: 1}", "observers={'host': 1}"),
        ("observers: 0", "observers=0"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused(llmon_yaml, line, found):
    """What YAML makes of a word is checked like a word of the environment."""
    assert refusal(file=llmon_yaml(line)).startswith(f"llmon.yaml: {found}: expected ")


def test_a_value_given_in_code_is_checked_too():
    """Making or changing the object by hand obeys the same rules and normalises the same way."""
    with pytest.raises(SettingsError, match=r"^endpoint='foo': expected a URL"):
        Settings(endpoint="foo")
    with pytest.raises(SettingsError, match=r"^level='loud': expected"):
        replace(Settings(), level="loud")
    assert Settings(level="BASIC", observers=["gpu"]) == Settings(level="basic", observers=("gpu",))


def test_a_misspelt_variable_is_refused_with_the_nearest_one():
    """An unknown OTEL_LLMON_ variable is an error that says what was probably meant."""
    assert refusal({"OTEL_LLMON_LEVL": "basic"}) == (
        "OTEL_LLMON_LEVL: unknown setting, did you mean 'OTEL_LLMON_LEVEL'"
    )
    assert refusal({"OTEL_LLMON_CONFIGS": "a"}).endswith("did you mean 'OTEL_LLMON_CONFIG'")


def test_a_misspelt_key_is_refused_with_the_nearest_one(llmon_yaml):
    """An unknown key of the file is an error that names the file and what was probably meant."""
    assert refusal(file=llmon_yaml("levl: basic")) == "llmon.yaml: 'levl': unknown setting, did you mean 'level'"
    assert "expected one of alertmanager_url, backend_headers" in refusal(file=llmon_yaml("1: basic"))


def test_variables_of_others_are_left_alone():
    """Upstream's and anybody else's variables are not ours to refuse."""
    assert Settings.load({"OTEL_LEVL": "a", "LLMON_LEVL": "b", "OTEL_SERVICE_NAME": "c"}) == Settings()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- level", "llmon.yaml: found list, expected lines such as 'level: detailed'"),
        ("level", "llmon.yaml: found str, expected lines such as 'level: detailed'"),
        ("level: [basic\nservice: a\n", "llmon.yaml: line 2: expected ',' or ']', but got ':', expected YAML"),
        ("level: !!python/object:os.x {}", "llmon.yaml: line 1: could not determine a constructor"),
        ("level: \x07", "llmon.yaml: unreadable characters, expected YAML"),
        ("level: basic\nlevel: detailed", "llmon.yaml: line 2: 'level' is there twice, expected YAML"),
        ("checks:\n  a: {tcp: 'a:1'}\n  a: {tcp: 'b:1'}", "llmon.yaml: line 3: 'a' is there twice, expected YAML"),
    ],
)
def test_a_broken_file_is_refused_in_one_line(llmon_yaml, text, message):
    """A file that is no mapping, or no YAML at all, says so and where."""
    assert refusal(file=llmon_yaml(text)).startswith(message)


def test_a_file_that_is_not_there_is_refused(tmp_path, monkeypatch):
    """Naming a file that is missing, or a directory, is an error."""
    monkeypatch.chdir(tmp_path)
    assert refusal({CONFIG: "missing.yaml"}) == "missing.yaml: no such file or directory, check OTEL_LLMON_CONFIG"
    assert refusal(file=".") == ".: is a directory, check OTEL_LLMON_CONFIG"


def test_an_empty_file_changes_nothing(llmon_yaml):
    """A file with comments only is a file without settings."""
    assert Settings.load({}, llmon_yaml("# nothing yet\n")) == Settings()


def test_a_password_in_a_url_is_not_repeated():
    """Neither a message nor what is printed shows it."""
    assert "secret" not in refusal({"OTEL_LLMON_ENDPOINT": "htp://user:secret@host"})
    assert settings.spelt("http://user:secret@host:4318") == "http://***@host:4318"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("Authorization=Bearer x", {"Authorization": "Bearer x"}),
        (
            " X-Scope-OrgID = a , Authorization=Basic%20dTpwQA== ,",
            {"X-Scope-OrgID": "a", "Authorization": "Basic dTpwQA=="},
        ),
        ("a=1%2C2", {"a": "1,2"}),
        ("", {}),
    ],
)
def test_headers_are_written_as_upstream_writes_them(given, expected):
    """Names and values with commas between them; what would end a value early is percent-encoded."""
    assert dict(Settings.load({"OTEL_LLMON_BACKEND_HEADERS": given}).backend_headers) == expected


def test_headers_in_a_file_may_be_a_mapping(llmon_yaml):
    """YAML has mappings, so nobody needs to encode anything there."""
    file = llmon_yaml("backend_headers: {Authorization: 'Bearer x,y'}")
    assert dict(Settings.load({}, file).backend_headers) == {"Authorization": "Bearer x,y"}


@pytest.mark.parametrize("given", ["Bearer topsecret", "a b=topsecret", "a=topsecret%0d%0ab: c", "=topsecret"])
def test_headers_that_are_none_are_refused_without_being_repeated(given):
    """A password that was written in the wrong place does not end in a log."""
    message = refusal({"OTEL_LLMON_BACKEND_HEADERS": given})
    assert message.startswith("OTEL_LLMON_BACKEND_HEADERS=***: expected name=value")


def test_headers_are_printed_nowhere():
    """Neither the settings as a whole nor one spelt out show what a header holds."""
    loaded = Settings.load({"OTEL_LLMON_BACKEND_HEADERS": "Authorization=topsecret"})
    assert settings.spelt(loaded.backend_headers) == "Authorization=***"
    assert "topsecret" not in f"{loaded!r} {loaded} {loaded.backend_headers}"


PRICES = """
prices:
  cpu_hour: 0.05
  gpu_hour: 2
  models:
    gpt-4o: {input: 2.5, output: 10, cached: 1.25}
    4: {input: 1}
"""


def test_prices_are_a_mapping_in_the_file_and_json_in_the_environment(llmon_yaml):
    """What is not said has no price; a model's name is text, whatever YAML takes it for."""
    prices = Settings.load({}, llmon_yaml(PRICES)).prices
    assert (prices.cpu_hour, prices.gpu_hour, prices.kwh) == (0.05, 2.0, None)
    assert prices.models == {"gpt-4o": TokenPrice(2.5, 10, 1.25), "4": TokenPrice(1)}
    assert Settings.load({"OTEL_LLMON_PRICES": settings.spelt(prices)}).prices == prices
    assert hash(Settings(prices=prices)) == hash(Settings(prices=prices))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("cpu_hours: 1", "prices.cpu_hours: unknown price, did you mean 'cpu_hour'"),
        ("disk: 1", "prices.disk: unknown price, expected one of cpu_hour, gpu_hour, memory_gb_hour, kwh, models"),
        ("cpu_hour: cheap", "prices.cpu_hour='cheap': expected a number, 0 or more"),
        ("kwh: -1", "prices.kwh=-1: expected a number, 0 or more"),
        ("kwh: .nan", "prices.kwh=nan: expected a number, 0 or more"),
        ("kwh: true", "prices.kwh=True: expected a number, 0 or more"),
        ("models: [gpt-4o]", "prices.models=['gpt-4o']: expected models with their prices"),
        ("models: {gpt-4o: 2.5}", "prices.models.gpt-4o=2.5: expected a mapping of input, output, cached"),
        ("models: {gpt-4o: {output: 1}}", "prices.models.gpt-4o={'output': 1}: expected input: a number, 0 or more"),
        ("models: {m: {input: 1, outptu: 1}}", "prices.models.m.outptu: unknown price, did you mean 'output'"),
        ("models: {m: {input: x}}", "prices.models.m.input='x': expected a number, 0 or more"),
    ],
)
def test_a_wrong_price_is_named_where_it_stands(llmon_yaml, given, said):
    """The way to it, what was found, what is expected."""
    assert refusal(file=llmon_yaml(f"prices:\n  {given}\n")) == f"llmon.yaml: {said}"


@pytest.mark.parametrize("given", ["{", "[1]", "3", "cheap"])
def test_prices_that_are_no_mapping_are_refused_with_an_example(given):
    """In the environment they are JSON."""
    assert refusal({"OTEL_LLMON_PRICES": given}).startswith(
        f'OTEL_LLMON_PRICES={given!r}: expected a mapping such as {{"cpu_hour": 0.04,'
    )


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("api: 3", "checks.api=3: expected a mapping such as {http: https://host/health}"),
        ("api: {every: 3}", "checks.api: found none, expected one of http, tcp, ollama, openai, disk with its address"),
        ("api: {http: 'http://a', tcp: 'a:1'}", "checks.api: found http and tcp, expected one of"),
        ("api: {http: a}", "checks.api.http='a': expected a URL such as http://localhost:8000/health"),
        ("api: {http: 'http://a', evry: 3}", "checks.api.evry: unknown option, did you mean 'every'"),
        ("api: {http: 'http://a', model: x}", "checks.api.model: unknown option, expected one of headers, ca, method"),
        ("api: {http: 'http://a', every: soon}", "checks.api.every='soon': expected a number of seconds above 0"),
        ("api: {http: 'http://a', headers: {a: [topsecret]}}", "checks.api.headers=***: expected name=value"),
        ("api: {database: x}", "checks.api: found none, expected one of"),
    ],
)
def test_a_wrong_check_is_named_where_it_stands(llmon_yaml, given, said):
    """The way to it, what was found, what is expected."""
    message = refusal(file=llmon_yaml(f"checks:\n  {given}\n"))
    assert message.startswith(f"llmon.yaml: {said}")
    assert "topsecret" not in message


@pytest.mark.parametrize("given", ["{", "[1]", "3", "http://user:topsecret@host"])
def test_checks_that_are_no_mapping_are_refused_with_an_example(given):
    """In the environment they are JSON; what stands there may be secret."""
    said = refusal({"OTEL_LLMON_CHECKS": given})
    assert said.startswith('OTEL_LLMON_CHECKS=***: expected a mapping such as {"ollama": {"ollama": "localhost:11434"')


def test_what_headers_of_checks_hold_is_printed_nowhere(llmon_yaml):
    """Nor is a password in an address."""
    line = "checks: {api: {http: 'http://u:topsecret@a/', headers: {Authorization: topsecret}}}"
    loaded = Settings.load({}, llmon_yaml(line))
    assert settings.spelt(loaded.checks) == '{"api": {"http": "http://***@a/", "headers": {"Authorization": "***"}}}'
    assert "topsecret" not in f"{loaded!r} {loaded} {loaded.checks.plain()}"
    assert dict(loaded.checks[0].options["headers"]) == {"Authorization": "topsecret"}


def test_settings_do_not_change():
    """The object is frozen."""
    with pytest.raises(FrozenInstanceError):
        Settings().level = "basic"
    assert issubclass(SettingsError, LlmonError)


def test_what_holds_before_anything_is_set_are_the_defaults():
    """A program that says nothing does not load the settings."""
    begun, told = telemetry._State(), telemetry._State()
    told.apply(Settings())
    begun.prices = Prices()  # None until something is set, and like no price
    assert {name: getattr(begun, name) for name in begun.__slots__} == {
        name: getattr(told, name) for name in told.__slots__
    }
    code = "import sys, otel_llmon.telemetry; print('otel_llmon.settings' in sys.modules)"
    bare = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    for environ, loaded in ((bare, "False\n"), (bare | {"OTEL_LLMON_LEVEL": "basic"}, "True\n")):
        done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
        assert done.stdout == loaded


def test_upstreams_launcher_sees_a_flag_for_every_setting():
    """opentelemetry-instrument makes flags of the module attributes that start with OTEL_."""
    flags = {name for name in dir(settings) if name.startswith("OTEL_")}
    assert flags == {CONFIG, *(f"OTEL_LLMON_{field.name.upper()}" for field in fields(Settings))}


@given(anything)
def test_settings_survive_the_environment(wanted):
    """Whatever the settings, spelling them out in the environment gives the same again."""
    environ = {row.variable: settings.spelt(getattr(wanted, row.name)) for row in settings.rows()}
    assert Settings.load(environ) == wanted


@given(anything)
def test_settings_survive_a_file(tmp_path_factory, wanted):
    """Whatever the settings, dumping them as YAML and reading that gives the same again."""
    file = tmp_path_factory.getbasetemp() / "survives.yaml"
    file.write_text(
        yaml.safe_dump(asdict(wanted) | {"backend_headers": {}, "checks": wanted.checks.plain()}, sort_keys=False),
        encoding="utf-8",
    )
    assert Settings.load({}, file) == wanted
