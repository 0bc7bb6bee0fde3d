use proptest::prelude::*;

use super::*;
use crate::mdns::tests::{unhex, vectors};

fn name(text: &str) -> Name {
    Name::of(text.split('.').map(str::as_bytes)).unwrap()
}

/// A header with these counts, and what follows it.
fn message(counts: [u16; 4], rest: &[u8]) -> Vec<u8> {
    let fields = [0, RESPONSE].into_iter().chain(counts);
    fields.flat_map(u16::to_be_bytes).chain(rest.iter().copied()).collect()
}

fn names() -> impl Strategy<Value = Name> {
    let label = prop::collection::vec(any::<u8>(), 1..12);
    prop::collection::vec(label, 1..6).prop_map(|labels| Name::of(labels.iter().map(Vec::as_slice)).unwrap())
}

fn datas() -> impl Strategy<Value = Data> {
    prop_oneof![
        any::<[u8; 4]>().prop_map(|address| Data::A(address.into())),
        any::<[u8; 16]>().prop_map(|address| Data::Aaaa(address.into())),
        names().prop_map(Data::Ptr),
        (any::<(u16, u16, u16)>(), names()).prop_map(|((priority, weight, port), target)| {
            Data::Srv(Srv { priority, weight, port, target })
        }),
        prop::collection::vec(any::<u8>(), 0..700).prop_map(Data::Txt),
    ]
}

fn records() -> impl Strategy<Value = Vec<Record>> {
    let record =
        (names(), any::<u32>(), datas()).prop_map(|(name, ttl_s, data)| Record { name, ttl_s, data });
    prop::collection::vec(record, 0..5)
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let _ = read(&bytes);
    }

    #[test]
    fn any_bytes_after_a_header_that_promises_much_are_read_or_refused(
        counts in any::<[u8; 4]>(), bytes in prop::collection::vec(prop_oneof![any::<u8>(), 0xc0_u8..=0xc1, 0_u8..=20], 0..600),
    ) {
        let _ = read(&message(counts.map(u16::from), &bytes));
    }

    #[test]
    fn what_was_written_is_read_back_and_is_shorter_with_short_names(
        id: u16, question in names(), answers in records(), authorities in records(),
    ) {
        let questions = [Question::new(question, kind::PTR)];
        let message = Message { id, flags: RESPONSE, questions: &questions, answers: &answers, authorities: &authorities };
        let (full, short) = (message.write(Names::Full), message.write(Names::Short));
        prop_assert!(short.len() <= full.len());
        for bytes in [full, short] {
            let got = read(&bytes).unwrap();
            prop_assert_eq!(got.id, id);
            prop_assert_eq!(&got.questions[..], &questions[..]);
            prop_assert_eq!(&got.answers, &answers);
            prop_assert_eq!(&got.authorities, &authorities);
        }
    }

    #[test]
    fn a_message_that_is_cut_short_or_changed_is_read_or_refused(at: prop::sample::Index, to: u8) {
        for packet in vectors()["observed_packets"].as_object().unwrap().values().filter_map(|p| unhex(p.as_str()?)) {
            let at = at.index(packet.len());
            prop_assert!(read(&packet[..at]).is_err());
            let mut changed = packet.clone();
            changed[at] = to;
            let _ = read(&changed);
        }
    }

    #[test]
    fn a_name_within_another_can_be_taken_apart_again(inner in names(), outer in names()) {
        let whole = inner.within(&outer).unwrap();
        prop_assert_eq!(whole.before(&outer), Some(inner.clone()));
        prop_assert_eq!(whole.labels().count(), inner.labels().count() + outer.labels().count());
        prop_assert_eq!(whole.before(&whole), None);
    }
}

#[test]
fn compression_that_goes_round_in_circles_is_refused() {
    for pointers in [&[0xc0, 12][..], &[0xc0, 14, 0xc0, 12], &[1, b'a', 0xc0, 12], &[0xc0, 200], &[0xc0, 13]]
    {
        let bytes = [pointers, &[0, 12, 0, 1]].concat();
        let error = read(&message([1, 0, 0, 0], &bytes)).unwrap_err();
        assert!(error.contains("goes on") || error.contains("cut short"), "{pointers:?}: {error}");
    }
}

#[test]
fn more_records_than_a_message_has_room_for_are_refused_before_anything_is_kept() {
    assert_eq!(read(&message([u16::MAX; 4], &[0; 100])), Err("it holds too many records"));
    assert_eq!(read(&message([0, 500, 0, 0], &[0; 100])), Err("it is cut short"));
}

#[test]
fn a_name_that_grows_beyond_255_bytes_is_refused() {
    // Sixty bytes, and then again and again what came before.
    let mut bytes = vec![59];
    bytes.extend([b'a'; 59]);
    bytes.push(0);
    let mut at = 12;
    for _ in 0..5 {
        bytes.extend([0, 12, 0, 1, 59]);
        let here = 12 + bytes.len() - 1;
        bytes.extend([b'a'; 59]);
        bytes.extend([0xc0, at as u8]);
        at = here;
        if at > 255 {
            break;
        }
    }
    bytes.extend([0, 12, 0, 1]);
    assert!(read(&message([4, 0, 0, 0], &bytes)).is_ok());
    assert_eq!(read(&message([5, 0, 0, 0], &bytes)), Err("a name is longer than 255 bytes"));
}

#[test]
fn a_record_that_lies_about_its_length_is_refused() {
    let record =
        |length: u8, data: &[u8]| [&[1, b'a', 0, 0, 12, 0, 1, 0, 0, 0, 120, 0, length], data].concat();
    assert!(read(&message([0, 1, 0, 0], &record(3, &[1, b'b', 0]))).is_ok());
    assert!(read(&message([0, 1, 0, 0], &record(2, &[1, b'b', 0]))).is_err());
    assert!(read(&message([0, 1, 0, 0], &record(9, &[1, b'b', 0]))).is_err());
    // What is left over after a name is passed over.
    assert!(read(&message([0, 1, 0, 0], &record(5, &[1, b'b', 0, 9, 9]))).is_ok());
}

#[test]
fn labels_are_kept_within_their_limits() {
    let long = [b'a'; 64];
    assert!(Name::of([&long[..63]]).is_some() && Name::of([&long[..]]).is_none());
    assert!(Name::of([&b""[..]]).is_none());
    assert!(Name::of([&long[..63], &long[..63], &long[..63], &long[..61]]).is_some());
    assert!(Name::of([&long[..63], &long[..63], &long[..63], &long[..62]]).is_none());
    assert_eq!(name("a.b").before(&name("b")), Some(name("a")));
    assert_eq!(name("xb").before(&name("b")), None);
    assert_eq!(name("a.b").text().as_deref(), Some("a.b"));
}
