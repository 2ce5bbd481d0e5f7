"""Our optimisers take torch's steps to the bit, and training loads nothing of torch's compiler."""

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import sys
import torch
from recae.models import optimisers
from tests.models.cases import Case

for name in ("mult_vae", "elsa", "sparsefc"):
    Case(name).fitted()
print("torch._dynamo" in sys.modules)

def trained(kind, **settings):
    torch.manual_seed(0)
    layer, x = torch.nn.Linear(4, 3), torch.rand(5, 4)
    optimiser = kind(layer.parameters(), **settings)
    def closure():
        optimiser.zero_grad()
        loss = layer(x).square().sum()
        loss.backward()
        return loss
    for _ in range(3):
        optimiser.step(closure)
    state = optimiser.state_dict()
    optimiser = kind(layer.parameters(), **settings)
    optimiser.load_state_dict(state)
    optimiser.step(closure)
    return layer.weight.detach().clone(), layer.weight.requires_grad

for name, settings in {"Adam": {"weight_decay": 0.1, "fused": True}, "NAdam": {}, "LBFGS": {"max_iter": 4}}.items():
    (ours, learns), (torchs, _) = trained(getattr(optimisers, name), **settings), trained(getattr(torch.optim, name), **settings)
    print(name, torch.equal(ours, torchs), learns)
"""


def test_the_steps_are_torchs_and_its_compiler_is_not_loaded():
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines() == ["False", "Adam True True", "NAdam True True", "LBFGS True True"], (
        done.stderr
    )
