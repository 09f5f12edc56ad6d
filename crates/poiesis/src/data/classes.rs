//! The examples of some classes of a data set, for a model of these alone.

use poiesis_collect::{Card, Dataset, Split};

use super::known::patterns;
use crate::error::{Error, Result};

/// The examples of the classes in `text`, comma-separated names or numbers of classes. Classes keep their numbers.
///
/// # Errors
///
/// [`Error::InvalidValue`] when the data have no such class, no classes at all or no training examples of them, and for text and sound.
pub fn only(dataset: &Dataset, text: &str) -> Result<Dataset> {
    let chosen = dataset.of_classes(&numbers(dataset.card(), text)?);
    if chosen.card().count(Split::Train) == 0 {
        let remedy = "name classes that training examples have";
        return Err(invalid(text, "no training example is of these classes", remedy));
    }
    Ok(chosen)
}

/// The examples of all other classes than those in `text`; see [`only`].
///
/// # Errors
///
/// [`Error::InvalidValue`] as for [`only`], and when there are no other classes.
pub fn others(dataset: &Dataset, text: &str) -> Result<Dataset> {
    let own = numbers(dataset.card(), text)?;
    let others: Vec<u32> =
        (0..dataset.card().classes.len() as u32).filter(|class| !own.contains(class)).collect();
    if others.is_empty() {
        return Err(invalid(text, "these are all classes of the data", "name fewer"));
    }
    Ok(dataset.of_classes(&others))
}

/// The numbers of the classes in `text`.
fn numbers(card: &Card, text: &str) -> Result<Vec<u32>> {
    if card.kind.is_stream() {
        return Err(invalid(text, "the data are text or sound", "leave it out"));
    }
    if card.classes.is_empty() {
        return Err(invalid(text, &format!("{} has no classes", card.name), "leave it out"));
    }
    let names = patterns(text);
    if names.is_empty() {
        return Err(invalid(text, "it names no class", "give names or numbers, with commas between them"));
    }
    names.iter().map(|name| number(card, name)).collect()
}

/// The number of a class given by its name or its number.
fn number(card: &Card, name: &str) -> Result<u32> {
    let classes = &card.classes;
    let named = classes.iter().position(|class| class == name);
    let numbered = || name.parse().ok().filter(|&number: &usize| number < classes.len());
    named.or_else(numbered).map(|number| number as u32).ok_or_else(|| {
        let shown: Vec<&str> = classes.iter().take(20).map(String::as_str).collect();
        let more = if classes.len() > shown.len() { ", …" } else { "" };
        let reason = format!("{} has no class of that name or number", card.name);
        invalid(name, &reason, &format!("give some of {}{more}", shown.join(", ")))
    })
}

fn invalid(value: &str, reason: &str, remedy: &str) -> Error {
    Error::invalid_value("data.classes", value, reason, remedy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::labelled_images;

    #[test]
    fn classes_are_chosen_by_name_or_number_and_keep_their_numbers() {
        let (_folder, dataset) = labelled_images(5, "0.png,ant\n1.png,bee\n2.png,cat\n3.png,ant\n");
        let labels = |dataset: &Dataset| -> Vec<Option<u32>> {
            let view = dataset.require(Split::Train).unwrap();
            (0..view.len()).map(|i| view.label(i)).collect()
        };
        let ants = only(&dataset, "ant").unwrap();
        assert_eq!(labels(&ants), [Some(0), Some(0)]);
        assert_eq!(ants.require(Split::Train).unwrap().image(1)[0], 120);
        assert_eq!(labels(&only(&dataset, " 2, bee ").unwrap()), [Some(1), Some(2)]);
        assert_eq!(labels(&others(&dataset, "ant").unwrap()), [Some(1), Some(2)]);
        assert_eq!(ants.card().count(Split::Train), 2);
        assert_eq!(ants.card().classes, dataset.card().classes);
        assert_eq!(ants.card().splits[0].class_counts, [2, 0, 0]);
        // The same part has the same fingerprint, another part another.
        let print = |dataset: &Dataset| dataset.card().fingerprint.clone();
        assert_eq!(print(&ants), print(&only(&dataset, "ant,0").unwrap()));
        assert_ne!(print(&ants), print(&dataset));
        assert_ne!(print(&ants), print(&only(&dataset, "bee").unwrap()));
        ants.verify().unwrap();
    }

    #[test]
    fn what_is_no_class_is_refused() {
        let (_folder, dataset) = labelled_images(2, "0.png,ant\n1.png,bee\n");
        let said = |text: &str| only(&dataset, text).unwrap_err().to_string();
        assert!(
            said("cow").contains("data.classes") && said("cow").contains("cannot be cow"),
            "{}",
            said("cow")
        );
        assert!(said("2").contains("no class"), "{}", said("2"));
        assert!(said(",").contains("names no class"), "{}", said(","));
        assert!(others(&dataset, "ant,bee").unwrap_err().to_string().contains("all classes"));
    }
}
