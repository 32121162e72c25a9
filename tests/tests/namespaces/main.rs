//! Real interfaces, routes and a NAT in network namespaces: somebody writes and sends a file while
//! the networks under them come and go, with the real programs on both sides.
//!
//! It takes root. Without it the tests say so and pass, unless `TEST_NAMESPACES=require`.

mod scene;

use std::process::Command;

use skein_testkit::namespaces::{Family, Interface, Lab, Place};

use crate::scene::{Scene, lab};

#[test]
fn the_wifi_goes_away_and_comes_back() {
    let Some(mut lab) = lab() else { return };
    lab.remove(Family::V6).expect("no IPv6");
    let mut scene = Scene::new(lab);
    scene.walk(
        "wifi down, cell, wifi up",
        &[&|lab| lab.down(Interface::Wifi), &|lab| lab.up(Interface::Wifi), &|lab| {
            lab.down(Interface::Wifi)
        }],
    );
}

#[test]
fn the_wifi_of_a_host_with_both_families_goes_away_and_comes_back() {
    let Some(lab) = lab() else { return };
    let mut scene = Scene::new(lab);
    scene.walk(
        "wifi down and up, both families",
        &[&|lab| lab.down(Interface::Wifi), &|lab| lab.up(Interface::Wifi)],
    );
}

#[test]
fn the_route_changes_and_no_interface_does() {
    let Some(mut lab) = lab() else { return };
    lab.remove(Family::V6).expect("no IPv6");
    let mut scene = Scene::new(lab);
    scene.walk(
        "default route to cell, to wifi",
        &[&|lab| lab.route_via(Interface::Cell), &|lab| lab.route_via(Interface::Wifi)],
    );
}

#[test]
fn the_nat_forgets_its_flows() {
    let Some(mut lab) = lab() else { return };
    lab.remove(Family::V6).expect("no IPv6");
    lab.loss(1.0).expect("some loss");
    let mut scene = Scene::new(lab);
    scene.walk("NAT rebinding, 1 % loss", &[&Lab::rebind_nat, &Lab::rebind_nat, &Lab::rebind_nat]);
}

#[test]
fn ipv4_goes_away_and_ipv6_stays() {
    let Some(mut lab) = lab() else { return };
    lab.remove(Family::V6).expect("no IPv6");
    let mut scene = Scene::new(lab);
    scene.walk(
        "IPv4 to IPv6 and back",
        &[
            &|lab| {
                lab.restore(Family::V6)?;
                lab.remove(Family::V4)
            },
            &|lab| {
                lab.restore(Family::V4)?;
                lab.remove(Family::V6)
            },
        ],
    );
}

#[test]
fn what_a_killed_run_has_left_is_removed() {
    let Some(first) = lab() else { return };
    // The number of a process that is over.
    let mut over = Command::new("true").spawn().expect("a process");
    let left = format!("skein-lab-{}-0-client", over.id());
    over.wait().expect("it ends");
    let added = Command::new("ip").args(["netns", "add", &left]).status().expect("ip");
    assert!(added.success());
    let second = Lab::new().expect("a second lab beside the first");
    let list = |lab: &Lab| lab.run_in(Place::Client, &["ip", "netns", "list"]).expect("a list");
    let there = list(&second);
    assert!(!there.contains(&left), "{there}");
    let name = first.namespace(Place::Router);
    assert!(there.contains(&name), "that of a living process stays: {there}");
    drop(first);
    assert!(!list(&second).contains(&name));
}
