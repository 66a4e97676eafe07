//! `lunatic::distributed` on a node that is alone: the node answers for itself and for no other node.

use lunatic_jit::HostCall;

use crate::declare::{CALL, HEAVY, Host, LOOK, Permission, func, limits, overload};
use lunatic_core::Fault;
use lunatic_core::node::NODE_ID;

use super::message::{get_tag, request, send_current};
use super::spawn::{FAILED, Request, spawn_request};
use crate::Guest;
use crate::memory::parts;

/// The identifier of the caller's module, which `spawn` here takes as "the caller's own".
const OWN_MODULE: u64 = u64::MAX;

/// The result of `send` for a node that does not exist, as in Lunatic.
const NODE_DOES_NOT_EXIST: u32 = 2;

/// The result of `exec_lookup_nodes` without a control server.
const NOT_CONNECTED: u32 = 1;

pub(super) fn register(host: &mut Host) {
    const MODULE: &str = "lunatic::distributed";
    func!(host, MODULE, "node_id", LOOK, |_: &mut Guest<'_>| NODE_ID);
    func!(host, MODULE, "module_id", LOOK, |_: &mut Guest<'_>| OWN_MODULE);
    func!(host, MODULE, "nodes_count", LOOK, |_: &mut Guest<'_>| 1u32);
    func!(host, MODULE, "get_nodes", CALL.array(0, 8, u32::MAX, ""), get_nodes);
    func!(
        host,
        MODULE,
        "spawn",
        HEAVY
            .range(3, limits::FUNCTION, "a function's name")
            .range(5, limits::PARAMETERS, "parameters")
            .place(7, 8)
            .needs(&[Permission::Spawn]),
        spawn
    );
    func!(host, MODULE, "send", CALL, send);
    func!(host, MODULE, "send_receive_skip_search", CALL, send_receive_skip_search);
    overload!(host, MODULE, "send_receive_skip_search", CALL, send_receive_same_tag);
    func!(
        host,
        MODULE,
        "exec_lookup_nodes",
        CALL.range(0, limits::TEXT, "a text").place(2, 8).place(3, 4).place(4, 8),
        exec_lookup_nodes
    );
    func!(
        host,
        MODULE,
        "copy_lookup_nodes_results",
        CALL.array(1, 8, u32::MAX, "").place(3, 8),
        copy_lookup_nodes_results
    );
    func!(host, MODULE, "test_root_cert", CALL.place(0, 4), |guest: &mut Guest<'_>, length_place: u32| {
        no_certificates(guest, [], length_place)
    });
    func!(
        host,
        MODULE,
        "default_server_certificates",
        CALL.range(0, limits::TEXT, "a text").range(2, limits::TEXT, "a text").place(4, 4),
        |guest: &mut Guest<'_>, ca: u32, ca_len: u32, key: u32, key_len: u32, length_place: u32| {
            no_certificates(guest, [(ca, ca_len), (key, key_len)], length_place)
        }
    );
    func!(
        host,
        MODULE,
        "sign_node",
        CALL.range(0, limits::TEXT, "a text")
            .range(2, limits::TEXT, "a text")
            .range(4, limits::TEXT, "a text")
            .place(6, 4),
        |guest: &mut Guest<'_>,
         ca: u32,
         ca_len: u32,
         key: u32,
         key_len: u32,
         request: u32,
         request_len: u32,
         length_place: u32| {
            no_certificates(guest, [(ca, ca_len), (key, key_len), (request, request_len)], length_place)
        }
    );
}

/// The error for a node that does not exist.
#[derive(Debug, thiserror::Error)]
#[error("there is no node {0}: this node is alone")]
struct NoNode(u64);

/// The error of functions that need a control server.
#[derive(Debug, thiserror::Error)]
#[error("this node is alone: there is no control server to look nodes up")]
struct NoControl;

/// Writes the identifiers of the nodes, as far as there is space for them. Returns how many were written.
fn get_nodes(guest: &mut Guest<'_>, nodes: u32, length: u32) -> Result<u32, Fault> {
    let (mut memory, _) = parts(guest)?;
    memory.array(nodes, length, 8)?;
    if length == 0 {
        return Ok(0);
    }
    memory.write_u64(nodes, NODE_ID)?;
    Ok(1)
}

/// Spawns a process on a node, without a link. Otherwise like `lunatic::process::spawn`.
#[allow(clippy::too_many_arguments)] // The ABI's.
fn spawn(
    guest: &mut Guest<'_>,
    node: u64,
    config: i64,
    module: u64,
    function: u32,
    function_len: u32,
    params: u32,
    params_len: u32,
    id: u32,
) -> Result<u32, Fault> {
    let (mut memory, data) = parts(guest)?;
    if node != NODE_ID {
        memory.check(id, 8)?;
        let error = data.add_error(NoNode(node))?;
        memory.write_u64(id, error)?;
        return Ok(FAILED);
    }
    let request = Request {
        link: 0,
        config,
        module: module as i64,
        function: (function, function_len),
        params: (params, params_len),
    };
    spawn_request(&mut memory, data, &request, id)
}

/// Sends the current message. Returns 0, or 2 if there is no such node.
fn send(guest: &mut Guest<'_>, node: u64, process: u64) -> Result<u32, Fault> {
    if node != NODE_ID {
        guest.data_mut().take_message()?;
        return Ok(NODE_DOES_NOT_EXIST);
    }
    send_current(guest, process)
}

/// Like the function of this name in `lunatic::message`; returns 2 if there is no such node.
fn send_receive_skip_search(
    guest: &mut Guest<'_>,
    node: u64,
    process: u64,
    tag: i64,
    timeout: u64,
) -> Result<HostCall<u32>, Fault> {
    if node != NODE_ID {
        guest.data_mut().take_message()?;
        return Ok(HostCall::Return(NODE_DOES_NOT_EXIST));
    }
    request(guest.data_mut(), process, tag, timeout)
}

/// The same for guests built with version 0.12 of the `lunatic` crate: the reply has the tag of the message that is
/// sent.
fn send_receive_same_tag(
    guest: &mut Guest<'_>,
    node: u64,
    process: u64,
    timeout: u64,
) -> Result<HostCall<u32>, Fault> {
    let tag = get_tag(guest)?;
    send_receive_skip_search(guest, node, process, tag, timeout)
}

/// Always fails, with an error that says why.
fn exec_lookup_nodes(
    guest: &mut Guest<'_>,
    query: u32,
    query_len: u32,
    query_id: u32,
    nodes_len: u32,
    error: u32,
) -> Result<u32, Fault> {
    let (mut memory, data) = parts(guest)?;
    memory.str(query, query_len)?;
    for (place, length) in [(query_id, 8), (nodes_len, 4), (error, 8)] {
        memory.check(place, length)?;
    }
    let id = data.add_error(NoControl)?;
    memory.write_u64(error, id)?;
    Ok(NOT_CONNECTED)
}

/// Always fails: no lookup has succeeded.
fn copy_lookup_nodes_results(
    guest: &mut Guest<'_>,
    _query_id: u64,
    nodes: u32,
    nodes_len: u32,
    error: u32,
) -> Result<i32, Fault> {
    let (mut memory, data) = parts(guest)?;
    memory.array(nodes, nodes_len, 8)?;
    memory.check(error, 8)?;
    let id = data.add_error(NoControl)?;
    memory.write_u64(error, id)?;
    Ok(-1)
}

/// Always traps. Certificates are for nodes that have a control server, and no result of this function could report
/// an error.
fn no_certificates<const N: usize>(
    guest: &mut Guest<'_>,
    texts: [(u32, u32); N],
    length_place: u32,
) -> Result<u32, Fault> {
    let (memory, _) = parts(guest)?;
    for (text, length) in texts {
        memory.str(text, length)?;
    }
    memory.check(length_place, 4)?;
    Err(Fault::NotAllowed("make certificates: this node is alone, and has no control server"))
}
