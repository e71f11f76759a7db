//! `#[export(...)]`: a function becomes an export of a kernel image.
//!
//! The function stays as written. Beside it stands a type of the same name (types and functions
//! have separate name spaces) with a constant `EXPORT` that holds the name, the documented limits,
//! the documentation page and a function that decodes the arguments.

use proc_macro::TokenStream;
use quote::quote;
use syn::{
    Expr, FnArg, Ident, ItemFn, LitStr, RangeLimits, Token,
    parse::{Parse, ParseStream},
    parse_macro_input,
};

/// The keys of the attribute.
struct Keys {
    irql: Option<Expr>,
    ddi: Option<LitStr>,
    written_as: Option<LitStr>,
    irql_note: Option<LitStr>,
    irql_when: Option<LitStr>,
    limits: Option<LitStr>,
}

impl Parse for Keys {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let mut keys = Self {
            irql: None,
            ddi: None,
            written_as: None,
            irql_note: None,
            irql_when: None,
            limits: None,
        };
        while !input.is_empty() {
            let name: Ident = input.parse()?;
            input.parse::<Token![=]>()?;
            match name.to_string().as_str() {
                "irql" => keys.irql = Some(input.parse()?),
                "ddi" => keys.ddi = Some(input.parse()?),
                "written_as" => keys.written_as = Some(input.parse()?),
                "irql_note" => keys.irql_note = Some(input.parse()?),
                "irql_when" => keys.irql_when = Some(input.parse()?),
                "limits" => keys.limits = Some(input.parse()?),
                _ => {
                    let known = "irql, ddi, written_as, irql_note, irql_when, limits";
                    return Err(syn::Error::new(name.span(), format!("expected one of {known}")));
                }
            }
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(keys)
    }
}

/// Turns an IRQL range into `(min, max)`.
fn irql_limit(expr: &Expr) -> proc_macro2::TokenStream {
    let level = |e: &Expr| quote!(::nt_abi::Irql::#e);
    match expr {
        Expr::Range(range) => {
            let min = range.start.as_deref().map_or(quote!(::nt_abi::Irql::PASSIVE_LEVEL), level);
            let max = range.end.as_deref().map_or(quote!(::nt_abi::Irql::HIGH_LEVEL), level);
            if range.end.is_some() && matches!(range.limits, RangeLimits::HalfOpen(_)) {
                return quote!(compile_error!("write `..=` for an IRQL limit"));
            }
            quote!(::events::IrqlLimit { min: #min, max: #max })
        }
        one => {
            let one = level(one);
            quote!(::events::IrqlLimit { min: #one, max: #one })
        }
    }
}

/// Declares an export. Keys: `irql` (a range of levels), `ddi` (documentation page), `written_as`
/// (the name an author writes, where a macro renames it), `irql_note` (why the limit differs from
/// the page), `irql_when` (the condition under which the page allows less than `irql`; the body or
/// the memory it touches judges that), `limits` (what of the documented behaviour is not modelled).
#[proc_macro_attribute]
pub fn export(attribute: TokenStream, item: TokenStream) -> TokenStream {
    let keys = parse_macro_input!(attribute as Keys);
    let function = parse_macro_input!(item as ItemFn);
    let name = &function.sig.ident;
    let text = name.to_string();
    let (Some(irql), Some(ddi)) = (&keys.irql, &keys.ddi) else {
        return syn::Error::new(name.span(), "an export needs `irql` and `ddi`")
            .to_compile_error()
            .into();
    };
    let limit = irql_limit(irql);
    let option = |value: &Option<LitStr>| value.as_ref().map_or(quote!(None), |v| quote!(Some(#v)));
    let (written_as, limits) = (option(&keys.written_as), option(&keys.limits));
    let (irql_note, irql_when) = (option(&keys.irql_note), option(&keys.irql_when));
    let arguments: Vec<_> =
        (1..function.sig.inputs.len()).map(|index| quote::format_ident!("a{index}")).collect();
    // Decoded before the call, one after the other: each decoding borrows the kernel.
    let decoded = function.sig.inputs.iter().skip(1).enumerate().map(|(index, argument)| {
        let FnArg::Typed(typed) = argument else {
            return quote!(compile_error!("an export takes `k: &mut Kernel` first"););
        };
        let (ty, name) = (&typed.ty, quote::format_ident!("a{}", index + 1));
        quote!(let #name = <#ty as ::ntoskrnl::FromArg>::from_arg(k, #index)?;)
    });
    // `k` and up to six are what clippy finds bearable.
    let many = (function.sig.inputs.len() > 7).then(|| {
        quote! {
            #[expect(clippy::too_many_arguments, reason = "an export has those of its declaration")]
        }
    });
    let visibility = &function.vis;
    let documentation = format!("The declaration of the export `{text}`.");
    quote! {
        #[doc = #documentation]
        #[derive(Debug)]
        #visibility enum #name {}
        impl #name {
            /// Name, limits, page and argument decoder.
            pub(crate) const EXPORT: ::ntoskrnl::Export = ::ntoskrnl::Export {
                name: #text,
                written_as: #written_as,
                irql: #limit,
                irql_note: #irql_note,
                irql_when: #irql_when,
                limits: #limits,
                ddi: #ddi,
                call: |k| {
                    #(#decoded)*
                    ::ntoskrnl::IntoFlow::into_flow(#name(k, #(#arguments),*))
                },
            };
        }
        #many
        #[expect(non_snake_case, reason = "exports keep the Windows spelling")]
        #function
    }
    .into()
}
