//! What is generated, and what is said when it cannot be.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::{fs, path::Path};

use callsign_build::{Error, configure};

const GREETER: &str = r#"
syntax = "proto3";
package greeter;
import "google/protobuf/empty.proto";
import "shop/money.proto";
// Says hello.
service Greeter {
  rpc Hello(HelloRequest) returns (HelloReply);
  rpc Ping(google.protobuf.Empty) returns (google.protobuf.Empty);
}
message HelloRequest { string name = 1; }
message HelloReply { string message = 1; shop.money.Price price = 2; }
"#;

const MONEY: &str = r#"
syntax = "proto3";
package shop.money;
message Price { int64 cents = 1; }
"#;

/// A folder with the protos above, and one for the output.
fn workshop() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("proto/shop")).unwrap();
    fs::create_dir_all(folder.path().join("out")).unwrap();
    fs::write(folder.path().join("proto/greeter.proto"), GREETER).unwrap();
    fs::write(folder.path().join("proto/shop/money.proto"), MONEY).unwrap();
    folder
}

fn compile(folder: &Path, proto: &str) -> Result<(), Error> {
    configure()
        .out_dir(folder.join("out"))
        .compile(&[folder.join("proto").join(proto)], &[folder.join("proto")])
}

fn error(folder: &Path, proto: &str) -> String {
    format!("{:?}", compile(folder, proto).unwrap_err())
}

#[test]
fn a_module_a_package_is_generated_with_client_server_and_descriptors_and_no_transport() {
    let folder = workshop();
    compile(folder.path(), "greeter.proto").unwrap();

    let code = fs::read_to_string(folder.path().join("out/greeter.rs")).unwrap();
    for part in ["pub mod greeter_client", "pub mod greeter_server", "super::shop::money::Price"] {
        assert!(code.contains(part), "{part} is missing");
    }
    assert!(!code.contains("transport"), "the generated code must not name tonic's transport");
    assert_eq!(code.matches("pub const FILE_DESCRIPTOR_SET").count(), 1);
    assert!(folder.path().join("out/shop.money.rs").exists());
    assert!(!folder.path().join("out/google.protobuf.rs").exists());
}

/// The list in the generated module of a package with these services.
fn idempotent_methods(package: &str, services: &str) -> String {
    let folder = workshop();
    let proto = format!("syntax = \"proto3\";\n{package}\nmessage A {{}}\n{services}");
    fs::write(folder.path().join("proto/levels.proto"), proto).unwrap();
    compile(folder.path(), "levels.proto").unwrap();
    let module = if package.is_empty() { "out/_.rs" } else { "out/levels.rs" };
    let code = fs::read_to_string(folder.path().join(module)).unwrap();
    let (_, list) = code.split_once("pub const IDEMPOTENT_METHODS: &[&str] = &").unwrap();
    list.lines().next().unwrap().to_owned()
}

#[test]
fn methods_that_may_be_called_twice_are_listed_and_no_others() {
    let services = "service One {
          rpc Find(A) returns (A) { option idempotency_level = NO_SIDE_EFFECTS; }
          rpc Put(A) returns (A) { option idempotency_level = IDEMPOTENT; }
          rpc Add(A) returns (A) { option idempotency_level = IDEMPOTENCY_UNKNOWN; }
          rpc Pay(A) returns (A);
          rpc Old(A) returns (A) { option deprecated = true; }
        }
        service Two { rpc Find(stream A) returns (A) { option idempotency_level = NO_SIDE_EFFECTS; } }";
    let listed = idempotent_methods("package levels;", services);
    assert_eq!(listed, r#"["/levels.One/Find", "/levels.One/Put", "/levels.Two/Find"];"#);
    assert_eq!(idempotent_methods("package levels;", "service One { rpc Pay(A) returns (A); }"), "[];");
    let nameless = "service One { rpc Find(A) returns (A) { option idempotency_level = IDEMPOTENT; } }";
    assert_eq!(idempotent_methods("", nameless), r#"["/One/Find"];"#);
}

#[test]
fn descriptors_hold_the_package_and_its_imports_and_no_comments() {
    let folder = workshop();
    compile(folder.path(), "greeter.proto").unwrap();
    let bytes = fs::read(folder.path().join("out/greeter.descriptors.bin")).unwrap();
    let text = String::from_utf8_lossy(&bytes);
    for name in ["greeter.proto", "shop/money.proto", "google/protobuf/empty.proto"] {
        assert!(text.contains(name), "{name} is missing");
    }
    assert!(!text.contains("Says hello"));

    let bytes = fs::read(folder.path().join("out/shop.money.descriptors.bin")).unwrap();
    assert!(!String::from_utf8_lossy(&bytes).contains("greeter.proto"));
}

#[test]
fn generating_twice_gives_the_same_code() {
    let folder = workshop();
    compile(folder.path(), "greeter.proto").unwrap();
    let first = fs::read(folder.path().join("out/greeter.rs")).unwrap();
    compile(folder.path(), "greeter.proto").unwrap();
    assert_eq!(first, fs::read(folder.path().join("out/greeter.rs")).unwrap());
}

#[test]
fn a_missing_file_is_named_with_what_is_there_instead() {
    let folder = workshop();
    let said = error(folder.path(), "greter.proto");
    assert!(said.contains("greter.proto does not exist"), "{said}");
    assert!(said.contains("found there: greeter.proto"), "{said}");
}

#[test]
fn a_missing_include_folder_is_named() {
    let folder = workshop();
    let error = configure()
        .out_dir(folder.path())
        .compile(&[folder.path().join("proto/greeter.proto")], &[folder.path().join("protos")])
        .unwrap_err();
    assert!(error.to_string().contains("protos does not exist"), "{error}");
}

#[test]
fn a_file_outside_of_the_include_folders_says_so() {
    let folder = workshop();
    let error = configure()
        .out_dir(folder.path())
        .compile(&[folder.path().join("proto/greeter.proto")], &[folder.path().join("out")])
        .unwrap_err();
    assert!(error.to_string().contains("in none of the include folders"), "{error}");
}

#[test]
fn a_syntax_error_has_the_path_the_line_and_the_column() {
    let folder = workshop();
    let path = folder.path().join("proto/bad.proto");
    fs::write(&path, "syntax = \"proto3\";\nmessage A {\n  string = 1;\n}\n").unwrap();
    let said = error(folder.path(), "bad.proto");
    assert!(said.contains(&format!("{}:3:10: ", path.display())), "{said}");
}

#[test]
fn an_unknown_type_has_the_path_and_the_line() {
    let folder = workshop();
    let path = folder.path().join("proto/bad.proto");
    fs::write(&path, "syntax = \"proto3\";\nmessage A {\n  Nothing it = 1;\n}\n").unwrap();
    let said = error(folder.path(), "bad.proto");
    assert!(said.contains(&format!("{}:3:3: ", path.display())), "{said}");
    assert!(said.contains("Nothing"), "{said}");
}

#[test]
fn an_import_that_is_nowhere_lists_the_folders_that_were_searched() {
    let folder = workshop();
    let path = folder.path().join("proto/bad.proto");
    fs::write(&path, "syntax = \"proto3\";\nimport \"no/where.proto\";\n").unwrap();
    let said = error(folder.path(), "bad.proto");
    assert!(said.contains("bad.proto:2:"), "{said}");
    assert!(said.contains("no/where.proto"), "{said}");
    assert!(said.contains(&format!("looked up in: {}", folder.path().join("proto").display())), "{said}");
}
