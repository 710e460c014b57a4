"""From torch modules to an OpenVINO model, by tracing them once."""

import warnings
from typing import TYPE_CHECKING, Any

from lockstep.models.loading import quietly
from lockstep.models.openvino_form import openvino
from lockstep.models.torch_form import TorchForm

if TYPE_CHECKING:
    import torch

# Of unlike lengths, so that the mask is part of what is traced.
_EXAMPLES = ("a query that the model is traced with", "and one more")


class NotTraceable(Exception):
    """The model cannot be traced or converted; the text says why."""


def traced(form: TorchForm) -> Any:
    """An `openvino.Model` of all the model's modules, for any number of queries of any length.

    It shares its weights with the torch model. Raises NotTraceable.
    """
    try:
        return _converted(_trace(form), len(form.tokens.inputs))
    except Exception as error:  # whatever a model's code, torch or OpenVINO raise at it
        lines = str(error).strip().splitlines() or ["no reason given"]
        raise NotTraceable(f"{type(error).__name__}: {lines[0]}") from error


def _trace(form: TorchForm) -> Any:
    import torch

    queries = [form.tokens.encode(text) for text in _EXAMPLES]
    columns = form.tokens.columns(queries, max(len(query.ids) for query in queries))
    examples = tuple(torch.from_numpy(column) for column in columns.values())
    with quietly(), warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of branches that tracing fixes; agreement is measured
        return torch.jit.trace(  # type: ignore[no-untyped-call]
            _pipeline(form), examples, check_trace=False, strict=False
        )


def _pipeline(form: TorchForm) -> "torch.nn.Module":
    """The model as one module from columns of tokens to vectors."""
    import torch

    class Pipeline(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = form.model

        def forward(self, *columns: Any) -> Any:
            features = dict(zip(form.tokens.inputs, columns, strict=True))
            return self.model({**features, "modality": "text"})[form.output]

    return Pipeline().eval()


def _converted(script: Any, inputs: int) -> Any:
    """By the frontend itself: `openvino.convert_model` reports each conversion to its makers."""
    library = openvino()
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    frontend = FrontEndManager().load_by_framework("pytorch")
    decoder = TorchScriptPythonDecoder(script)  # the frontend holds no reference to it
    model = frontend.convert(frontend.load(decoder))
    if len(model.inputs) != inputs:
        raise ValueError(f"the traced model reads {len(model.inputs)} of its {inputs} inputs")
    for each in model.inputs:
        each.get_node().set_element_type(library.Type.i64)
        each.get_node().set_partial_shape(library.PartialShape([-1, -1]))
    model.validate_nodes_and_infer_types()
    return model
