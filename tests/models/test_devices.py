"""The setting ``device``: what it may say, and what happens where the host has no such device."""

import pytest
import torch
from numpy.testing import assert_array_equal

from recae.errors import ConfigError
from recae.models import create, load_model, names
from recae.models.devices import device_of, serving_device
from tests.models.cases import two_tastes, two_tastes_rated

WITH_DEVICE = [name for name in names() if hasattr(create(name).config, "device")]


@pytest.fixture
def gpus(monkeypatch):
    """Makes torch find so many GPUs, whatever there is."""

    def pretend(n):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: n > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: n)

    return pretend


def test_auto_takes_a_gpu_where_there_is_one(gpus):
    gpus(0)
    assert device_of("auto") == torch.device("cpu")
    gpus(2)
    assert device_of("auto") == torch.device("cuda")
    assert device_of("cuda:1") == torch.device("cuda:1")
    assert device_of("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", WITH_DEVICE)
@pytest.mark.parametrize("wrong", ["gpu", "cuda:", "cuda:one", "cuda:-1", "cpu:0:1", "mps", ""])
def test_a_name_of_no_device_is_refused_with_the_settings(name, wrong):
    with pytest.raises(
        ConfigError,
        match=rf"settings of {name}: device: .*found the device '{wrong}', expected 'auto', 'cpu', 'cuda'",
    ):
        create(name, device=wrong)


@pytest.mark.parametrize(
    ("n_gpus", "name", "there_is"),
    [
        (0, "cuda", "no CUDA device"),
        (0, "cuda:1", "no CUDA device"),
        (1, "cuda:1", "cuda:0;"),
        (2, "cuda:2", "cuda:0 to cuda:1"),
    ],
)
def test_a_gpu_that_is_not_there_is_named_beside_those_that_are(gpus, n_gpus, name, there_is):
    gpus(n_gpus)
    with pytest.raises(ConfigError, match=f"'{name}' is not on this host.*{there_is}.*'auto' or 'cpu'"):
        device_of(name)


@pytest.mark.parametrize("name", WITH_DEVICE)
def test_fit_refuses_an_absent_gpu_before_it_looks_at_the_data(gpus, name):
    gpus(0)
    model = create(name, device="cuda")  # settings may be written on a host that lacks what they name
    with pytest.raises(ConfigError, match="is not on this host"):
        model.fit("no matrix", show_progress=False)


@pytest.mark.parametrize(
    ("name", "settings", "data"),
    [
        ("blend", {"members": [{"name": "ease"}, {"name": "mult_dae", "settings": {"device": "cuda"}}]}, two_tastes),
        ("rating_blend", {"members": [{"name": "sparsefc", "settings": {"device": "cuda"}}]}, two_tastes_rated),
    ],
)  # fmt: skip
def test_a_blend_asks_for_its_members_devices_before_the_first_is_fitted(
    gpus, monkeypatch, name, settings, data
):
    gpus(0)
    model = create(name, **settings)
    monkeypatch.setattr(type(model), "_fit", lambda *_: pytest.fail("fitted all the same"))
    with pytest.raises(ConfigError, match="is not on this host"):
        model.fit(data(), show_progress=False)


# -------------------------------------------------------------------- stored on one host, loaded on another


@pytest.mark.parametrize("named", ["cuda", "cuda:3"])
@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("mult_vae", {"n_hidden": 4, "n_latent": 2, "epochs": 1}),
        ("cosine_dae", {"n_latent": 2, "epochs": 1}),
        ("sparsefc", {"n_hidden": 2, "epochs": 1}),
    ],
)
def test_a_model_fitted_on_a_gpu_serves_on_the_cpu_of_a_host_without(gpus, tmp_path, name, settings, named):
    data = two_tastes()
    model = create(name, device="cpu", **settings).fit(data, show_progress=False)
    wanted = model.score(data)
    model.config = create(name, device=named, **settings).config  # as it is where there was such a GPU
    model.save(tmp_path / "model")

    gpus(0)
    loaded = load_model(tmp_path / "model")
    assert loaded.config.device == named, "the settings stay as they were"
    assert_array_equal(loaded.score(data), wanted)
    assert loaded.recommend(0, data[0], N=3)[0].shape == (3,)
    with pytest.raises(ConfigError, match="is not on this host"):
        loaded.fit(data, show_progress=False)


def test_a_blend_of_models_fitted_on_a_gpu_serves_on_a_host_without(gpus, tmp_path):
    def settings(device):
        network = {"device": device, "n_hidden": 4, "n_latent": 2, "epochs": 1}
        return {"members": [{"name": "popularity"}, {"name": "mult_dae", "settings": network}]}

    data = two_tastes()
    model = create("blend", **settings("cpu")).fit(data, show_progress=False)
    wanted = model.score(data)
    model.config = create("blend", **settings("cuda")).config
    model.save(tmp_path / "model")

    gpus(0)
    assert_array_equal(load_model(tmp_path / "model").score(data), wanted)


def test_a_stored_model_serves_on_its_own_gpu_or_on_the_first_that_there_is(gpus):
    gpus(2)
    assert serving_device("cuda:1") == torch.device("cuda:1")
    assert serving_device("cuda:2") == torch.device("cuda")
    assert serving_device("cpu") == torch.device("cpu")
    gpus(0)
    assert serving_device("cuda:1") == torch.device("cpu")
