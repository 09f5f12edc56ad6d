//! Requests to a sampler of several steps: what it is given, how it is followed and cancelled, and what is refused.

use burn::tensor::TensorData;

use super::*;
use crate::abilities::LatentPart;
use crate::data::{Content, PointShape};
use crate::error::Error;

/// Draws points of N(0, 1) moved by the class and the guidance, in steps that do nothing.
struct Steps;

impl Sampler for Steps {
    fn accepts(&self) -> Accepts {
        Accepts { class: true, steps: true, guidance: true, ..Accepts::default() }
    }

    fn sample(&self, draws: &Draws<'_>, on_step: &mut OnStep<'_>) -> ControlFlow<(), Tensor<2>> {
        let steps = draws.params.steps.unwrap_or(3);
        (0..steps).try_for_each(|step| on_step(step + 1, steps))?;
        let guidance = draws.params.guidance.unwrap_or(1.0) as f32;
        let moved = draws.classes.iter().map(|class| guidance * class.unwrap_or(0) as f32).collect();
        let moved = Tensor::<2>::from_data(TensorData::new(moved, [draws.count(), 1]), draws.device);
        ControlFlow::Continue(draws.normal("noise", 2) + moved)
    }
}

fn spec() -> DataSpec {
    DataSpec { content: Content::Points(PointShape::new(2)), classes: 3, unlabelled: false }
}

/// All that is handed over until `stop_after` chunks are there.
fn chunks(request: &Request, stop_after: usize) -> Result<Vec<(u64, Chunk)>> {
    let abilities = Abilities { sampler: Some(&Steps), ..Abilities::default() };
    let mut all = Vec::new();
    generate(&abilities, &spec(), &Device::flex(), request, &mut |index, chunk| {
        all.push((index, chunk));
        if all.len() == stop_after { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    Ok(all)
}

fn refused(request: &Request) -> String {
    chunks(request, usize::MAX).unwrap_err().to_string()
}

#[test]
fn a_sampler_is_given_the_parameters_and_can_be_followed() {
    let params = SamplingParams { steps: Some(2), guidance: Some(100.0), ..SamplingParams::default() };
    let condition = Condition { class: Some(2), ..Condition::default() };
    let request = Request { seed: 1, first: 14, count: 3, condition, params, ..Request::default() };
    let all = chunks(&request, usize::MAX).unwrap();
    let indices: Vec<u64> = all.iter().map(|(index, _)| *index).collect();
    assert_eq!(indices, [14, 14, 14, 15, 16, 16, 16]);
    assert_eq!(all[1].1, Chunk::Progress { done: 2, total: 2 });
    for at in [2, 3, 6] {
        let Chunk::Whole(Media::Point(point)) = &all[at].1 else { panic!("{:?}", all[at]) };
        assert!(point.iter().all(|x| (190.0..210.0).contains(x)), "{point:?}");
    }
    let alone = chunks(&Request { first: 15, count: 1, ..request }, usize::MAX).unwrap();
    assert_eq!(alone[2], all[3]);
}

#[test]
fn a_request_is_cancelled_between_two_steps() {
    let all = chunks(&Request { count: 40, ..Request::default() }, 2).unwrap();
    assert_eq!(all.last(), Some(&(0, Chunk::Progress { done: 2, total: 3 })));
    assert_eq!(all.len(), 2);
}

#[test]
fn what_cannot_be_asked_for_is_refused_by_name_and_all_at_once() {
    let of_class = |class| Request {
        condition: Condition { class: Some(class), ..Condition::default() },
        ..Request::default()
    };
    assert!(chunks(&of_class(2), usize::MAX).is_ok());
    assert!(refused(&of_class(3)).contains("class"), "{}", refused(&of_class(3)));

    let params = SamplingParams { steps: Some(0), guidance: Some(f64::NAN), ..SamplingParams::default() };
    let both = refused(&Request { params, ..of_class(9) });
    assert!(["steps", "guidance", "class"].iter().all(|key| both.contains(key)), "{both}");

    let without =
        Request { condition: Condition { no_class: true, ..Condition::default() }, ..Request::default() };
    assert!(refused(&without).contains("learned no examples without a class"), "{}", refused(&without));
    let both = Condition { class: Some(1), no_class: true, ..Condition::default() };
    assert!(refused(&Request { condition: both, ..Request::default() }).contains("a class is given too"));

    for (first, count) in [(u64::MAX, 2), (1 << 40, 1)] {
        assert!(refused(&Request { first, count, ..Request::default() }).contains("first"));
    }
    let temperature = SamplingParams { temperature: Some(0.5), ..SamplingParams::default() };
    let error = chunks(&Request { params: temperature, ..Request::default() }, 1).unwrap_err();
    assert!(matches!(&error, Error::NotAccepted { what, .. } if what == "temperature"), "{error}");
}

/// Points that are their own latents.
struct Same(Prior);

impl Latents for Same {
    fn parts(&self) -> Vec<LatentPart> {
        vec![LatentPart { name: "z".into(), size: 2, prior: self.0 }]
    }

    fn decode(&self, latents: Tensor<2>, _classes: &[Option<u32>]) -> Tensor<2> {
        latents
    }
}

#[test]
fn normal_latents_are_scaled_by_the_temperature_and_uniform_ones_refuse_it() {
    let drawn = |prior, temperature| {
        let (model, mut all) = (Same(prior), Vec::new());
        let abilities = Abilities { latents: Some(&model), ..Abilities::default() };
        let params = SamplingParams { temperature, ..SamplingParams::default() };
        let request = Request { count: 2, params, ..Request::default() };
        generate(&abilities, &spec(), &Device::flex(), &request, &mut |_, chunk| {
            if let Chunk::Whole(Media::Point(point)) = chunk {
                all.extend(point);
            }
            ControlFlow::Continue(())
        })
        .map(|()| all)
    };
    let whole = drawn(Prior::Normal, None).unwrap();
    assert_eq!(whole.len(), 4);
    assert_eq!(drawn(Prior::Normal, Some(0.5)).unwrap(), whole.iter().map(|x| x * 0.5).collect::<Vec<_>>());
    assert!(drawn(Prior::Uniform, None).is_ok());
    assert!(drawn(Prior::Uniform, Some(0.5)).is_err());
}

#[test]
fn classes_take_turns_and_examples_without_one_before_them() {
    let request =
        |class| Request { condition: Condition { class, ..Condition::default() }, ..Request::default() };
    let of =
        |turns: Turns, class| (0..5).map(|index| request(class).class_of(index, turns)).collect::<Vec<_>>();
    let both = Turns { classes: 2, no_class: true };
    assert_eq!(of(Turns::default(), None), [None; 5]);
    assert_eq!(of(Turns::of_classes(2), None), [Some(0), Some(1), Some(0), Some(1), Some(0)]);
    assert_eq!((both.count(), of(both, None)), (3, vec![None, Some(0), Some(1), None, Some(0)]));
    assert_eq!(of(both, Some(1)), [Some(1); 5]);
    let without = Condition { no_class: true, ..Condition::default() };
    let without = Request { condition: without, ..Request::default() };
    assert_eq!((0..5).map(|index| without.class_of(index, both)).collect::<Vec<_>>(), [None; 5]);
    assert!(!without.takes_turns() && rows_by_class(3, &Request { count: 9, ..without }).is_none());
}

#[test]
fn rows_are_classes_where_each_has_two_examples() {
    let request = |count, class| Request {
        count,
        condition: Condition { class, ..Condition::default() },
        ..Request::default()
    };
    assert_eq!(rows_by_class(5, &request(10, None)), Some(5));
    assert_eq!(rows_by_class(5, &request(9, None)), None, "too few");
    assert_eq!(rows_by_class(5, &request(10, Some(2))), None, "all are of one class");
    assert_eq!(rows_by_class(0, &request(10, None)), None, "there are no classes");
}
