//! Secrets that a command needs: from the environment, standard input or the terminal, and never from
//! an argument, which others on this machine can see.

use std::{
    env, io,
    io::{IsTerminal as _, Read as _},
};

use anyhow::{Context as _, Result, bail};
use secrets_store_api::{ExposeSecret as _, MAX_VALUE, SecretString};

use crate::process;

/// The variable with the token of an admin of the Worker.
pub const ADMIN_TOKEN: &str = "GATEWAY_ADMIN_TOKEN";

/// The token of an admin: the variable's, or `known`, or what is typed. `admins` are the bindings whose
/// values are such tokens.
///
/// # Errors
///
/// Where it is in no variable, and there is no terminal to ask at.
pub fn admin_token(admins: &[String], known: Option<&str>) -> Result<SecretString> {
    let set = env::var(ADMIN_TOKEN).ok().filter(|it| !it.trim().is_empty());
    if let Some(token) = set.or_else(|| known.map(str::to_owned)) {
        return Ok(token.into());
    }
    let admins = admins.join(" or ");
    typed(&format!("Admin token of the Worker (the value of {admins}): ")).with_context(|| {
        format!(
            "no terminal to ask for the admin token; set {ADMIN_TOKEN} to the value of {admins}"
        )
    })
}

/// A new value: what is typed, or standard input where that is no terminal, up to the line break at
/// its end.
///
/// # Errors
///
/// Where nothing comes, or what no binding of a credential or a token can have.
pub fn new_value(binding: &str) -> Result<SecretString> {
    let value = if io::stdin().is_terminal() {
        typed(&format!("New value of {binding} (not shown): "))?
    } else {
        let mut text = String::new();
        // A longer one is told as too long.
        let limit = MAX_VALUE as u64 + 3;
        io::stdin().take(limit).read_to_string(&mut text).context("cannot read standard input")?;
        // What `echo` puts there is not of the value.
        let end = text.strip_suffix('\n').map_or(text.len(), str::len);
        text.truncate(end);
        let end = text.strip_suffix('\r').map_or(text.len(), str::len);
        text.truncate(end);
        SecretString::from(text)
    };
    let text = value.expose_secret();
    if text.is_empty() {
        bail!("the new value is empty; type it, or hand it over on standard input");
    }
    if text.len() > MAX_VALUE {
        bail!("the new value has more than {MAX_VALUE} bytes");
    }
    // As the Worker has it: such a value would be refused by each request that needs it.
    if text.contains(char::is_control) || text.trim() != text {
        bail!(
            "the new value has white space at its start or end, or a control character in it: no \
             header carries it. Nothing was changed; hand over the value alone"
        );
    }
    Ok(value)
}

fn typed(question: &str) -> Result<SecretString> {
    // Ctrl-C is obeyed when the terminal shows what is typed again.
    let typed = process::undisturbed(|| rpassword::prompt_password(question));
    Ok(typed.context("cannot ask at the terminal")?.into())
}
