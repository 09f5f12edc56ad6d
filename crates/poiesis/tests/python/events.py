"""Prints as JSON what TensorBoard finds in a folder of runs: `events.py FOLDER`."""

import json
import sys

from tensorboard.backend.event_processing import data_provider, event_accumulator, plugin_event_multiplexer
from tensorboard.context import RequestContext
from tensorboard.plugins import base_plugin
from tensorboard.plugins.hparams import api_pb2, backend_context, list_session_groups

ALL = {event_accumulator.SCALARS: 0, event_accumulator.TENSORS: 0, event_accumulator.IMAGES: 0}


def of_run(path):
    """The scalars, texts and sounds of a run, by tag: step and value of each."""
    events = event_accumulator.EventAccumulator(path, size_guidance=ALL).Reload()
    found = {"scalars": {}, "texts": {}, "sounds": {}}
    for tag in events.Tags()["scalars"]:
        found["scalars"][tag] = [[event.step, event.value] for event in events.Scalars(tag)]
    for tag in events.Tags()["tensors"]:
        tensors = [(event.step, list(event.tensor_proto.string_val)) for event in events.Tensors(tag)]
        match events.SummaryMetadata(tag).plugin_data.plugin_name:
            case "text":
                found["texts"][tag] = [[step, [text.decode() for text in texts]] for step, texts in tensors]
            case "audio":
                # Each sound has a label behind it.
                found["sounds"][tag] = [[step, [sound.hex() for sound in sounds[::2]]] for step, sounds in tensors]
    return found


def hyperparameters(folder):
    """The settings and measures of all runs, as the HPARAMS tab asks for them."""
    multiplexer = plugin_event_multiplexer.EventMultiplexer().AddRunsFromDirectory(folder)
    multiplexer.Reload()
    provider = data_provider.MultiplexerDataProvider(multiplexer, folder)
    context = backend_context.Context(base_plugin.TBContext(data_provider=provider))
    statuses = [status for _, status in api_pb2.Status.items()]
    request = api_pb2.ListSessionGroupsRequest(slice_size=100, allowed_statuses=statuses)
    groups = list_session_groups.Handler(RequestContext(), context, "", request).run().session_groups
    value = lambda value: getattr(value, value.WhichOneof("kind"))
    return {
        group.name: {
            "settings": {key: value(setting) for key, setting in group.hparams.items()},
            "measures": {measure.name.tag: measure.value for measure in group.metric_values},
            "statuses": [api_pb2.Status.Name(session.status) for session in group.sessions],
        }
        for group in groups
    }


def main():
    folder = sys.argv[1]
    runs = hyperparameters(folder)
    print(json.dumps({name: found | of_run(f"{folder}/{name}") for name, found in runs.items()}))


if __name__ == "__main__":
    main()
